"""The commands of the command line, a file each; `unlearning.cli` puts them together."""
