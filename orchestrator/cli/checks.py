"""What ``had doctor`` looks at. Each check returns facts; none raises."""

from __future__ import annotations

import enum
import importlib
import importlib.metadata
import os
import platform
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

PACKAGES = (
    "torch",
    "ray",
    "mlflow",
    "optuna",
    "hydra-core",
    "numpy",
    "pyarrow",
    "safetensors",
)
CPU_FEATURES = ("avx2", "avx512f", "avx512_bf16", "amx_bf16")
SETTINGS = ("OMP_NUM_THREADS", "OMP_WAIT_POLICY", "MKL_NUM_THREADS", "RAY_ADDRESS", "HAD_STORE")
LOW_DISK_GIB = 5.0
_IMPORTS = ("torch", "pyarrow", "ray", "ray.train", "mlflow", "optuna", "hydra")


class Status(enum.Enum):
    OK = "ok"
    WARNING = "warning"
    FAILED = "failed"


@dataclass(frozen=True)
class Check:
    """One finding.

    Attributes:
        group: versions, imports, devices, settings, store or tracking.
        value: what was found.
        hint: what to do about it; empty where all is well.
    """

    group: str
    name: str
    status: Status
    value: str
    hint: str = ""


def all_checks(store: str) -> list[Check]:
    """Every check, in the order they are shown; takes seconds, because it imports everything."""
    groups: tuple[Callable[[], Iterator[Check]], ...] = (
        versions,
        imports,
        devices,
        settings,
        lambda: disk(store),
        lambda: tracking(store),
    )
    return [check for group in groups for check in group()]


def versions() -> Iterator[Check]:
    yield Check("versions", "python", Status.OK, platform.python_version())
    yield Check("versions", "system", Status.OK, f"{platform.system()} {platform.machine()}")
    for name in ("had-orchestrator", *PACKAGES):
        try:
            yield Check("versions", name, Status.OK, importlib.metadata.version(name))
        except importlib.metadata.PackageNotFoundError:
            # A checkout on the path works without being installed; its libraries do not.
            status = Status.WARNING if name == "had-orchestrator" else Status.FAILED
            yield Check("versions", name, status, "not installed", "install it: make install")


def imports() -> Iterator[Check]:
    """Each library really loads: a missing C library shows here and not in a worker's log."""
    for name in _IMPORTS:
        try:
            importlib.import_module(name)
        except Exception as error:
            text = f"{type(error).__name__}: {error}".splitlines()[0]
            yield Check("imports", name, Status.FAILED, text, "install the project again")
        else:
            yield Check("imports", name, Status.OK, "loads")


def devices() -> Iterator[Check]:
    usable, present = len(os.sched_getaffinity(0)), os.cpu_count()
    yield Check("devices", "cpus", Status.OK, f"{usable} usable of {present}")
    flags = cpu_flags()
    for name in CPU_FEATURES:
        there = name in flags
        yield Check("devices", name, Status.OK, "yes" if there else "no")
    yield Check("devices", "memory", Status.OK, f"{_memory_gib():.1f} GiB")
    yield _gpu()


def settings() -> Iterator[Check]:
    """Variables that change speed or behaviour. Values are shown, so no secret belongs here."""
    for name in SETTINGS:
        yield Check("settings", name, Status.OK, os.environ.get(name, "not set"))
    yield _threads()


def disk(store: str) -> Iterator[Check]:
    """Room and writability where the store lies or will lie."""
    if "://" in store:
        yield Check("store", "folder", Status.OK, f"{store} (not local: disk not looked at)")
        return
    place = Path(store).absolute()
    while not place.exists():
        place = place.parent
    free = shutil.disk_usage(place).free / 2**30
    low = free < LOW_DISK_GIB
    yield Check("store", "folder", Status.OK, store if Path(store).exists() else f"{store} (new)")
    yield Check(
        "store",
        "free disk",
        Status.WARNING if low else Status.OK,
        f"{free:.1f} GiB",
        f"a run wants some GiB; less than {LOW_DISK_GIB:g} are free" if low else "",
    )
    if not os.access(place, os.W_OK):
        yield Check(
            "store", "writable", Status.FAILED, "no", f"{place} cannot be written by this user"
        )


def tracking(store: str) -> Iterator[Check]:
    """MLflow answers over the store."""
    from had_core.errors import HadError
    from orchestrator.tracking.location import TrackingLocation

    try:
        location = TrackingLocation.of(store)
        if location.file is not None and not location.file.exists():
            yield Check("tracking", "mlflow", Status.OK, f"{location.shown} (new)")
            return
        count = len(location.client().search_experiments())
        yield Check("tracking", "mlflow", Status.OK, f"{location.shown}, {count} experiments")
    except HadError as error:
        yield Check("tracking", "mlflow", Status.WARNING, str(error))
    except Exception as error:
        text = f"{type(error).__name__}: {error}".splitlines()[0]
        hint = "the journal in the store keeps everything until MLflow answers again"
        yield Check("tracking", "mlflow", Status.FAILED, text, hint)


def cpu_flags(path: Path = Path("/proc/cpuinfo")) -> frozenset[str]:
    """Instruction sets of the first CPU; empty where the system does not tell."""
    try:
        lines = path.read_text().splitlines()
    except OSError:
        return frozenset()
    for line in lines:
        key, _, value = line.partition(":")
        if key.strip() in ("flags", "Features"):
            return frozenset(value.split())
    return frozenset()


def _memory_gib() -> float:
    return float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")) / 2**30


def _gpu() -> Check:
    try:
        import torch

        names = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    except Exception as error:
        return Check("devices", "gpus", Status.WARNING, f"{type(error).__name__}: {error}")
    return Check("devices", "gpus", Status.OK, ", ".join(names) or "none")


def _threads() -> Check:
    try:
        import torch
    except Exception:
        return Check("settings", "torch threads", Status.FAILED, "torch does not load")
    threads, usable = torch.get_num_threads(), len(os.sched_getaffinity(0))
    over = threads > usable
    return Check(
        "settings",
        "torch threads",
        Status.WARNING if over else Status.OK,
        str(threads),
        f"more than the {usable} usable CPUs: set OMP_NUM_THREADS" if over else "",
    )
