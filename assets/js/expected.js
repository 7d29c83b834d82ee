/* What a run will take. value: {lines: [text]} | {job} (this machine is being measured) | {error} */
const { element: node, fill, followJob, waiting, problem } = window.forgetting;
let stop = null;
const lines = (all) => fill(element, node("ul", { class: "expected" }, all.map((line) => node("li", {}, line))));
function update() {
  if (stop) stop();
  stop = null;
  const value = props.value;
  if (!value) fill(element);
  else if (value.error) fill(element, problem(value.error));
  else if (value.lines) lines(value.lines);
  else if (value.job) {
    stop = followJob(server.look, value.job, (state) => {
      if (state.state === "done") lines(state.value.lines);
      else if (state.state === "failed") fill(element, node("p", { class: "hint" }, [state.message, state.hint].filter(Boolean).join(" ")));
      else fill(element, waiting(state));
    });
  }
}
watch("value", update);
update();
