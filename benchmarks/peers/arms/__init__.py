"""The arms: scripts that do the same work, each as its library wants it done."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Arm:
    """`script` is a module of this folder; `environment` "" is the project's own, else one of `requirements/`.

    With `buckets` sentences of like length come together where the gate does not fix the order. `at_once` trials share
    the two cores, or the GPU.
    """

    script: str
    environment: str = ""
    precision: str = "float32"
    tuned: bool = False
    buckets: bool = False
    at_once: int = 1

    @property
    def options(self) -> list[str]:
        tuned = ["--tuned"] if self.tuned else []
        return ["--precision", self.precision, "--workers", str(self.at_once), *tuned]

    @property
    def threads(self) -> int:
        return max(1, 2 // self.at_once)


BASE = "plain"
ARMS = {
    BASE: Arm("plain"),
    "strong": Arm("strong", tuned=True, buckets=True),
    "strong, bf16": Arm("strong", precision="bfloat16", tuned=True, buckets=True),
    "torchdistill, as shipped": Arm("torchdistill", "torchdistill"),
    "torchdistill, tuned": Arm("torchdistill", "torchdistill", tuned=True, buckets=True),
    "transformers, as shipped": Arm("transformers", "transformers"),
    "transformers, tuned": Arm("transformers", "transformers", tuned=True, buckets=True),
    "transformers, tuned, bf16": Arm("transformers", "transformers", "bfloat16", tuned=True, buckets=True),
    "lightning, as shipped": Arm("lightning", "lightning"),
    "lightning, tuned": Arm("lightning", "lightning", tuned=True, buckets=True),
    "lightning, tuned, bf16": Arm("lightning", "lightning", "bfloat16", tuned=True, buckets=True),
    "ours": Arm("ours", buckets=True),
    "ours, bf16": Arm("ours", precision="bfloat16", buckets=True),
    "ours, two trials at once": Arm("ours", buckets=True, at_once=2),
    "ours, bf16, two trials at once": Arm("ours", precision="bfloat16", buckets=True, at_once=2),
    "ours, four trials at once": Arm("ours", buckets=True, at_once=4),
    "ours, bf16, four trials at once": Arm("ours", precision="bfloat16", buckets=True, at_once=4),
    "ours, twelve trials at once": Arm("ours", buckets=True, at_once=12),
    "ours, bf16, twelve trials at once": Arm("ours", precision="bfloat16", buckets=True, at_once=12),
}
# What is measured if nobody says: as many trials at once as there are cores; on a GPU four, those of an arm of a study,
# and twelve, of three arms.
USUAL = {
    "cpu": [name for name, arm in ARMS.items() if arm.at_once <= 2],
    "cuda": [name for name, arm in ARMS.items() if arm.at_once != 2],
}
QUICK = (BASE, "strong", "ours", "ours, two trials at once", "ours, bf16, two trials at once")
PEERS = ("torchdistill", "transformers", "lightning")
