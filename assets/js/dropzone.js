/* Files, dropped or chosen: uploaded one after another; trigger("dropped") with where they are. */
const { element: node, fill } = window.forgetting;
const chooser = node("input", { type: "file", multiple: true, accept: props.value.suffixes.join(","), class: "sr", id: "dropzone-files", onchange: () => take(chooser.files) });
const said = node("span", { class: "hint", role: "status" });
const zone = node("label", { class: "dropzone", for: "dropzone-files" }, chooser, node("strong", {}, "Drop files here or choose them"), said);
fill(element, zone);
const idle = "txt, md, html, epub, docx, pdf";
said.textContent = idle;
let busy = false;
async function take(list) {
  const files = [...list];
  if (!files.length || busy) return;
  if (files.reduce((sum, file) => sum + file.size, 0) > props.value.most) {
    said.textContent = `That is more than ${props.value.most / 1e6} MB. Give a part of it.`;
    chooser.value = "";
    return;
  }
  busy = true;
  zone.classList.add("busy");
  const paths = [];
  try {
    for (const [i, file] of files.entries()) {
      said.textContent = files.length > 1 ? `Uploading ${i + 1} of ${files.length} …` : "Uploading …";
      paths.push((await upload(file)).path);
    }
    said.textContent = "Reading …";
    trigger("dropped", { paths });
    setTimeout(() => { said.textContent = idle; }, 1500);
  } catch (error) {
    said.textContent = `The upload failed${/size|large|413/i.test(String(error)) ? ": the file is too large" : ""}. Try again, or a smaller file.`;
  } finally {
    busy = false;
    chooser.value = "";
    zone.classList.remove("busy");
  }
}
zone.addEventListener("dragover", (event) => { event.preventDefault(); zone.classList.add("over"); });
zone.addEventListener("dragleave", () => zone.classList.remove("over"));
zone.addEventListener("drop", (event) => { event.preventDefault(); zone.classList.remove("over"); take(event.dataTransfer.files); });
