"""llama.cpp's quantizer by the package llama-cpp-python, as a program of its own: on errors llama.cpp ends processes.

`python -m lightadapt.export.gguf_rounding SOURCE TARGET FILE_TYPE THREADS`
"""

from __future__ import annotations

import sys


def main(source: str, target: str, file_type: str, threads: str) -> int:
    """Write a GGUF file again in another form of weights; the status of llama.cpp, 0 for success."""
    import llama_cpp

    llama_cpp.llama_backend_init()
    params = llama_cpp.llama_model_quantize_default_params()
    params.ftype, params.nthread = int(file_type), int(threads)
    return int(llama_cpp.llama_model_quantize(source.encode(), target.encode(), params))


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
