"""NVIDIA's driver libraries as a machine with GPUs would have them, of a few lines of C: what they answer is chosen."""

from tests.support.cuda_wheels import compile_library

NVML = """
#include <string.h>
typedef struct {{ unsigned long long total, free, used; }} Memory;
typedef struct {{ unsigned pid; unsigned long long used; unsigned gi, ci; }} Process;
static long at(void *handle) {{ return (long)handle - 1; }}
const char *nvmlErrorString(int code) {{ return code == 18 ? "Driver/library version mismatch" : "Not Supported"; }}
int nvmlInit_v2(void) {{ return {init}; }}
int nvmlShutdown(void) {{ return 0; }}
int nvmlSystemGetCudaDriverVersion_v2(int *v) {{ *v = {cuda}; return 0; }}
int nvmlSystemGetDriverVersion(char *t, unsigned n) {{ strncpy(t, "{driver}", n); return 0; }}
int nvmlDeviceGetCount_v2(unsigned *n) {{ *n = {count}; return 0; }}
int nvmlDeviceGetHandleByIndex_v2(unsigned i, void **h) {{ *h = (void *)(long)(i + 1); return 0; }}
int nvmlDeviceGetName(void *h, char *t, unsigned n) {{ strncpy(t, "{name}", n); return 0; }}
int nvmlDeviceGetUUID(void *h, char *t, unsigned n) {{ strncpy(t, "GPU-0000000", n); t[10] = '0' + at(h); return 0; }}
int nvmlDeviceGetMemoryInfo(void *h, Memory *m)
{{ m->total = 16ULL << 30; m->used = (unsigned long long)({used}) << 20; m->free = m->total - m->used; return 0; }}
int nvmlDeviceGetCudaComputeCapability(void *h, int *a, int *b) {{ *a = {major}; *b = {minor}; return 0; }}
int nvmlDeviceGetComputeMode(void *h, int *mode) {{ *mode = {mode}; return 0; }}
int nvmlDeviceGetComputeRunningProcesses_v3(void *h, unsigned *n, Process *p)
{{ *n = {holder} != 0; p->pid = {holder}; p->used = 5ULL << 30; return 0; }}
int nvmlDeviceGetP2PStatus(void *h, void *other, int index, int *status)
{{ *status = at(h) / 2 == at(other) / 2 ? 0 : 1; return 0; }}
"""
GOOD = {"init": 0, "cuda": 12040, "driver": "550.54.15", "count": 4, "name": "Tesla T4", "used": 500}
GOOD |= {"major": 7, "minor": 5, "mode": 0, "holder": 0}

CUDA = """
int cuInit(unsigned flags) {{ return {code}; }}
int cuGetErrorName(int code, const char **name) {{ *name = "{name}"; return 0; }}
"""


def nvml_library(folder, **answers):
    """A libnvidia-ml.so.1 in `folder` that answers GOOD, changed by `answers`."""
    return compile_library(folder / "libnvidia-ml.so.1", NVML.format(**GOOD | answers))


def cuda_library(folder, code=0, name="CUDA_SUCCESS"):
    """A libcuda.so.1 in `folder` that starts with `code`."""
    return compile_library(folder / "libcuda.so.1", CUDA.format(code=code, name=name))
