"""From the bytes of a file to pieces of clean text; `unlearning.text.documents` is the way in.

decoding     bytes -> str, whatever the encoding; tells binary files from text
archive      zip files that may be broken, locked or bombs
safe_xml     XML that may be made to explode
markup       HTML and Markdown -> pieces
epub, docx   the two zip formats -> pieces
pdf          pages -> lines, without running heads and page numbers
gutenberg    takes Project Gutenberg's header, licence and markers away
characters   invisible characters, odd spaces, old quotation marks
paragraphs   hard-wrapped lines -> paragraphs and verse
joining      hyphens and dashes at line ends
headings     finds chapters, drops the table of contents
cleaning     the steps in their order
"""
