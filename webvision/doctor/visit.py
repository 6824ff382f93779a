"""The whole visit: every finding, in the order in which a run meets them."""

from webvision.doctor import gpus, host, software, storage
from webvision.doctor.findings import NOTE, Finding
from webvision.machine.versions import git_revision


def visit(folder, *, start_tensorflow=True):
    """Every Finding about this machine, for runs that write to `folder`."""
    visible = gpus.count()
    findings = [_revision(), *software.look(), *gpus.look()]
    if start_tensorflow:
        findings.append(software.tensorflow_start(visible))
    return [*findings, *host.look(gpus=visible), *storage.look(folder)]


def _revision():
    return Finding("webvision", NOTE, git_revision() or "outside a git checkout")
