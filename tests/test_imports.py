"""Who may import whom, kept by reading the source: one direction, and nothing heavy before it is needed."""

import ast
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "unlearning"
SOURCES = sorted(PACKAGE.rglob("*.py"))

# A part may import from parts of its own level and below. Single modules of the package are parts too.
LEVELS = (
    {"errors"},
    {"config", "endpoint"},
    {"text", "runs"},
    {"scenarios"},
    {"models"},
    {"methods"},
    {"evaluation", "training"},
    {"export"},
    {"together"},
    {"worker"},
    {"cli", "runs_cli", "commands", "ui", "bench", "__main__"},
)
LEVEL = {part: level for level, parts in enumerate(LEVELS) for part in parts}
# What takes long to import; inside a function it is fine.
HEAVY = {"torch", "transformers", "peft", "accelerate", "safetensors", "gradio", "plotly", "scipy", "numpy", "lxml"}
HEAVY |= {"pypdf", "wordfreq"}
# Parts in which none of these may be imported when the module is.
LIGHT = {"errors", "config", "endpoint", "text", "runs", "scenarios", "export", "together", "worker"}
LIGHT |= LEVELS[-1] - {"ui"}
ONLY_IN_UI = {"gradio", "gradio_client"}
READERS = {"lxml", "pypdf", "wordfreq"}  # a module that does nothing else may import its library at once


def part_of(path):
    """ "text" for unlearning/text/blocks.py, "cli" for unlearning/cli.py."""
    first = path.relative_to(PACKAGE).parts[0]
    return first.removesuffix(".py")


def imports(tree, everywhere=True):
    """Names of imported modules; only those imported with the module itself unless `everywhere`."""
    nodes = ast.walk(tree) if everywhere else _at_import(tree.body)
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module


def _at_import(body):
    """Statements that run when the module is imported: not those in functions, nor for type checkers alone."""
    for node in body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            continue
        yield node
        for field in ("body", "orelse", "handlers", "finalbody"):
            yield from _at_import(getattr(node, field, []))


TREES = {path: ast.parse(path.read_text(encoding="utf-8")) for path in SOURCES}


def roots(path, everywhere=True):
    """Packages that a module imports."""
    return {module.split(".")[0] for module in imports(TREES[path], everywhere)}


def test_imports_go_one_way():
    wrong = []
    for path in SOURCES:
        own = part_of(path)
        if own == "__init__":
            continue
        assert own in LEVEL, f"{own} has no place in LEVELS"
        for module in imports(TREES[path]):
            parts = module.split(".")
            if parts[0] == "unlearning" and len(parts) > 1 and LEVEL[parts[1]] > LEVEL[own]:
                wrong.append(f"{path.relative_to(ROOT)} imports {module}")
    assert wrong == []


def test_gradio_is_in_the_page_alone():
    wrong = [path.relative_to(ROOT) for path in SOURCES if part_of(path) != "ui" and roots(path) & ONLY_IN_UI]
    assert wrong == []


def test_nothing_heavy_is_imported_before_it_is_needed():
    wrong = []
    for path in SOURCES:
        found = roots(path, everywhere=False)
        if part_of(path) in LIGHT:
            found = (found & HEAVY) - (READERS if part_of(path) == "text" else set())
        elif part_of(path) == "ui":
            found &= {"torch", "transformers", "peft"}
        else:
            continue
        wrong += [f"{path.relative_to(ROOT)} imports {name}" for name in found]
    assert wrong == []


def test_no_torch_in_text_at_all():
    wrong = [path.relative_to(ROOT) for path in SOURCES if part_of(path) == "text" and "torch" in roots(path)]
    assert wrong == []


def test_screens_do_not_import_each_other():
    from unlearning.ui.frame import PANELS

    screens = {panel.module for panel in PANELS}
    wrong = []
    for path in SOURCES:
        if part_of(path) == "ui" and path.stem in screens:
            own = [module for module in imports(TREES[path]) if module.startswith("unlearning.ui.")]
            modules = {module.rsplit(".", 1)[-1] for module in own}
            wrong += [f"{path.stem} imports {other}" for other in modules & (screens - {path.stem})]
    assert wrong == []


def test_there_is_no_drawer_for_everything():
    assert not [path for path in SOURCES if path.stem in ("utils", "common", "helpers", "manager", "misc")]


def test_help_loads_nothing_heavy():
    code = (
        "import sys; from unlearning.cli import main; status = main(['unlearn', '--help']); "
        "print(status, *sorted({name.split('.')[0] for name in sys.modules}))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60)
    status, *loaded = done.stdout.strip().splitlines()[-1].split()
    assert status == "0"
    assert not set(loaded) & HEAVY
