"""Edits that let the unmaintained MinkowskiEngine 0.5.4 source build and run on current tools.

Every edit replaces one exact text and fails loudly when the text is not there, so that a changed
source can never be half patched. ``PATCH_VERSION`` is part of the wheel cache's key.
"""

from __future__ import annotations

from pathlib import Path

from installer.console import InstallError

PATCH_VERSION = "3"

_HASH_MAP = "src/3rdparty/concurrent_unordered_map.cuh"
_SEQUENCE_FILES = (
    "MinkowskiEngine/MinkowskiCommon.py",
    "MinkowskiEngine/MinkowskiCoordinateManager.py",
    "MinkowskiEngine/MinkowskiTensorField.py",
    "MinkowskiEngine/utils/quantization.py",
)
_PREFETCH_HELPER = """
namespace {
// CUDA 13 takes a cudaMemLocation and flags instead of the device number.
inline cudaError_t prefetch_to_device(const void *ptr, size_t bytes, int device,
                                      cudaStream_t stream) {
#if CUDART_VERSION >= 13000
  cudaMemLocation location{};
  location.type = cudaMemLocationTypeDevice;
  location.id = device;
  return cudaMemPrefetchAsync(ptr, bytes, location, 0, stream);
#else
  return cudaMemPrefetchAsync(ptr, bytes, device, stream);
#endif
}
}  // namespace
"""

# (file, old text, new text, how often it occurs)
_EDITS: tuple[tuple[str, str, str, int], ...] = (
    # Python 3.10 moved the abstract collections.
    *(
        (name, "from collections import Sequence", "from collections.abc import Sequence", 1)
        for name in _SEQUENCE_FILES
    ),
    (
        "MinkowskiEngine/MinkowskiKernelGenerator.py",
        "from collections import Sequence, namedtuple",
        "from collections import namedtuple\nfrom collections.abc import Sequence",
        1,
    ),
    # The build must not touch the environment it runs in.
    (
        "setup.py",
        'run_command("pip", "uninstall", "MinkowskiEngine", "-y")',
        "",
        1,
    ),
    # Pruning every voxel and convolving after that returned a reference to a temporary.
    (
        "src/coordinate_map_manager.cpp",
        """      return detail::empty_map_functor<coordinate_type, TemplatedAllocator,
                                       CoordinateMapType, kernel_map_type>()();
    }

    if (!is_transpose) {
      if (is_pool &&""",
        """      m_kernel_maps[kernel_map_key] =
          detail::empty_map_functor<coordinate_type, TemplatedAllocator,
                                    CoordinateMapType, kernel_map_type>()();
      return m_kernel_maps[kernel_map_key];
    }

    if (!is_transpose) {
      if (is_pool &&""",
        1,
    ),
    # CUDA 12 and 13: headers that no longer arrive by accident, and removed interfaces.
    (_HASH_MAP, "#include <cudf/detail/nvtx/ranges.hpp>\n", "", 1),
    (_HASH_MAP, "    CUDF_FUNC_RANGE();\n", "", 1),
    (
        _HASH_MAP,
        "#include <thrust/count.h>\n",
        "#include <thrust/count.h>\n#include <thrust/execution_policy.h>\n",
        1,
    ),
    (
        _HASH_MAP,
        "#include <type_traits>\n",
        "#include <type_traits>\n" + _PREFETCH_HELPER,
        1,
    ),
    (_HASH_MAP, "CUDA_TRY(cudaMemPrefetchAsync(this,", "CUDA_TRY(prefetch_to_device(this,", 1),
    (
        _HASH_MAP,
        "cudaMemPrefetchAsync(m_hashtbl_values,",
        "prefetch_to_device(m_hashtbl_values,",
        2,
    ),
    (
        "src/coordinate_map_functors.cuh",
        """struct find_coordinate
    : public thrust::unary_function<uint32_t,
                                    thrust::pair<uint32_t, uint32_t>> {""",
        "struct find_coordinate {",
        1,
    ),
    (
        "src/coordinate_map_gpu.cu",
        "#include <thrust/sort.h>\n",
        "#include <thrust/remove.h>\n#include <thrust/sort.h>\n#include <thrust/unique.h>\n",
        1,
    ),
    (
        "src/coordinate_map_gpu.cuh",
        """      m_map = map_type::create(
          compute_hash_table_size(size, m_hashtable_occupancy),
          m_unused_element, m_unused_key, m_hasher, m_equal, m_map_allocator);""",
        """      auto created = map_type::create(
          compute_hash_table_size(size, m_hashtable_occupancy),
          m_unused_element, m_unused_key, m_hasher, m_equal, m_map_allocator);
      auto deleter = created.get_deleter();
      m_map.reset(created.release(), deleter);""",
        1,
    ),
    (
        "src/spmm.cu",
        "#include <ATen/cuda/CUDAContext.h>\n",
        "#include <ATen/core/Tensor.h>\n#include <ATen/cuda/CUDAContext.h>\n"
        "#include <thrust/execution_policy.h>\n#include <thrust/reduce.h>\n"
        "#include <thrust/sort.h>\n",
        1,
    ),
)


def apply_patches(source: Path) -> None:
    """Edit the unpacked MinkowskiEngine 0.5.4 tree at ``source`` in place.

    Raises:
        InstallError: a text to replace is not there as often as expected.
    """
    for name, old, new, count in _EDITS:
        path = source / name
        text = path.read_text(encoding="utf-8")
        if text.count(old) != count:
            raise InstallError(
                f"MinkowskiEngine source {name}: expected {count} of {old[:60]!r}, "
                f"found {text.count(old)}; is this the 0.5.4 sdist from the package index?"
            )
        path.write_text(text.replace(old, new), encoding="utf-8")
