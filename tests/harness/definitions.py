"""The definitions of others' kinds that Firn hands out resources of. Those of Flux, Argo CD and the Prometheus operator
stand in their Go modules (definitions.txt); Strimzi's are made as its own build makes them: by its generator, from the
classes of its API (strimzi.xml).

    definitions.py --fetch                     fetches them, so that no test has to wait for that"""

import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from harness.java import QUICK
from harness.server import HARNESS, MAVEN, fetched

FLUX = "github.com/fluxcd"
STRIMZI = HARNESS / "strimzi.xml"
CLASSES = ("kafka.Kafka", "nodepool.KafkaNodePool")


def of_modules() -> Path:
    """A folder with one for each module."""
    return Path(fetched("go", "definitions"))


def of_strimzi(folder: Path) -> Path:
    """Written into the folder, which is returned."""
    options = ["--yaml", "--target-kube", "1.16+", "--crd-api-version", "v1", "--api-versions", "v1beta2", "--storage-version", "v1beta2"]
    made = [f"io.strimzi.api.kafka.model.{name}={folder}/{name}.yaml" for name in CLASSES]
    call = ["java", *QUICK, "-cp", fetched(MAVEN, str(STRIMZI)), "io.strimzi.crdgenerator.CrdGenerator", *options, *made]
    done = subprocess.run(call, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"Strimzi's generator: {done.stderr}")
    return folder


def fetch():
    of_modules()
    fetched(MAVEN, str(STRIMZI))


if __name__ == "__main__":
    if sys.argv[1:] != ["--fetch"]:
        sys.exit(__doc__)
    fetch()
