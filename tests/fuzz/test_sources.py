"""Nothing that is read is ever run: the source holds none of the calls that could."""

import ast
import re
from pathlib import Path

import pytest

import distillbias

ROOT = Path(distillbias.__file__).parent
FILES = sorted(path.relative_to(ROOT).as_posix() for path in ROOT.rglob("*.py"))
MODULES = {"pickle", "cPickle", "_pickle", "dill", "cloudpickle", "joblib", "marshal", "shelve", "yaml", "pty"}
CALLS = {"eval", "exec", "compile", "__import__"}
ATTRIBUTES = {
    *("torch.load", "np.load", "numpy.load", "os.system", "os.popen", "pd.read_pickle", "torch.hub", "np.fromfile"),
    *("importlib.import_module", "subprocess.getoutput", "subprocess.getstatusoutput", "tarfile.open"),
}
METHODS = {"extractall", "extract", "from_string"}  # archives are read member by member, templates are files
NEVER = {"shell": True, "allow_pickle": True, "weights_only": False, "autoescape": False}


def dangers(source: str) -> list[str]:
    """What of the above `source` holds."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names if alias.name.split(".")[0] in MODULES]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
            found += [name for name in names if name.split(".")[0] in MODULES or name in ATTRIBUTES]
        elif isinstance(node, ast.Name) and node.id in CALLS:
            found.append(node.id)
        elif isinstance(node, ast.Attribute) and (ast.unparse(node) in ATTRIBUTES or node.attr in METHODS):
            found.append(ast.unparse(node))
        elif isinstance(node, ast.keyword) and node.arg in NEVER:
            fixed = isinstance(node.value, ast.Constant) and node.value.value is not NEVER[node.arg]
            found += [] if fixed else [ast.unparse(node)]
    return found


@pytest.mark.parametrize("file", FILES)
def test_no_source_runs_what_it_reads(file):
    assert dangers((ROOT / file).read_text()) == []


@pytest.mark.parametrize(
    "source",
    [
        *("import pickle", "import pickle as harmless", "from joblib import load", "from torch import load"),
        *("torch.load(path)", "np.load(path)", "np.load(path, allow_pickle=True)", "read(path, allow_pickle=flag)"),
        *("eval(text)", "exec(text)", "run = eval", "os.system(text)", "subprocess.run(text, shell=True)"),
        *("archive.extractall()", "Environment(autoescape=False)", "environment.from_string(text)"),
    ],
)
def test_each_danger_would_be_found(source):
    assert dangers(source)


def test_what_looks_alike_is_no_danger():
    assert dangers("model.eval()\nsubprocess.run(['git'])\nre.compile(x)\nread(path, allow_pickle=False)") == []


@pytest.mark.parametrize("path", [path for path in sorted(ROOT.rglob("*.html"))], ids=lambda path: path.name)
def test_templates_escape_everything(path):
    text = path.read_text()
    assert not re.search(r"\|\s*(safe|forceescape|xmlattr)\b|autoescape\s+false|Markup|<script|\bon[a-z]+\s*=", text)
    quoted = re.sub(r'"[^"<>]*"', "", text)  # attributes: what is put into one must stand in double quotes
    assert not re.search(r"=\s*'?\{\{", quoted)
