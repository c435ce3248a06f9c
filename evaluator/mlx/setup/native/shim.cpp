// What mlx-rs calls and mlx-c lacks outside Apple's systems.
//
// mlx-c declares its accessors for half-precision arrays on Arm only, where C has such types. A caller sees two bytes
// in either case, so elsewhere the same functions pass them as uint16_t.
#include <cstdint>
#include <cstring>
#include <ctime>

#include "mlx/c/array.h"
#include "mlx/c/error.h"
#include "mlx/c/private/array.h"
#include "mlx/mlx.h"

#if !defined(__aarch64__)
namespace {

template <class Half>
int item(uint16_t* result, const mlx_array array) {
  try {
    const auto value = mlx_array_get_(array).item<Half>();
    std::memcpy(result, &value, sizeof(uint16_t));
    return 0;
  } catch (const std::exception& error) {
    mlx_error(error.what());
    return 1;
  }
}

template <class Half>
const uint16_t* data(const mlx_array array) {
  try {
    return reinterpret_cast<const uint16_t*>(mlx_array_get_(array).data<Half>());
  } catch (const std::exception& error) {
    mlx_error(error.what());
    return nullptr;
  }
}

} // namespace

extern "C" int mlx_array_item_float16(uint16_t* result, const mlx_array array) {
  return item<mlx::core::float16_t>(result, array);
}

extern "C" int mlx_array_item_bfloat16(uint16_t* result, const mlx_array array) {
  return item<mlx::core::bfloat16_t>(result, array);
}

extern "C" const uint16_t* mlx_array_data_float16(const mlx_array array) {
  return data<mlx::core::float16_t>(array);
}

extern "C" const uint16_t* mlx_array_data_bfloat16(const mlx_array array) {
  return data<mlx::core::bfloat16_t>(array);
}
#endif

// mlx-rs seeds its default random state from Darwin's clock.
extern "C" uint64_t mach_approximate_time() {
  timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<uint64_t>(now.tv_sec) * 1000000000ull + static_cast<uint64_t>(now.tv_nsec);
}
