//! A frozen quantized linear layer with a DoRA adapter:
//! y = m / norm · (x · weightᵀ + scale · (x · lora_a) · lora_b) + bias, where norm is the length of each row of
//! weight + scale · (lora_a · lora_b)ᵀ and counts as constant for the gradients.
//!
//! The search starts here and may rewrite everything between the two marks. The rest stays as it is.

use kernel_api::*;

// EVOLVE-BLOCK-START
use std::rc::Rc;

use kernel_api::gpu::{self, Backend, GpuKernel, Launch, Template};
use kernel_api::transform::{Function, custom_vjp};

/// On a GPU of NVIDIA's four tasks in CUDA source and two plain products with the weight, unpacked a moment before, are the whole layer. At
/// such sizes a step is bound by how many kernels are started, and MLX's packed products are slower than its plain ones. Elsewhere, the norm by its
/// parts and the packed product.
enum QuantizedDora {
    Source(Function),
    Operations { weight: QuantizedWeight, squares: Array, bias: Option<Array>, scale: f32 },
}

/// The rank is taken eight by eight. All but `finish` run in blocks of 256 threads.
const HEADER: &str = r"
__device__ __forceinline__ float warp_sum(float v) {
  for (int o = 16; o; o >>= 1) v += __shfl_xor_sync(~0u, v, o);
  return v;
}
template <int O>
__device__ __forceinline__ void exchange(float (&v)[16]) {
  const bool upper = threadIdx.x & O;
#pragma unroll
  for (int i = 0; i < O; ++i) {
    const float other = __shfl_xor_sync(~0u, upper ? v[i] : v[i + O], O);
    v[i] = (upper ? v[i + O] : v[i]) + other;
  }
}
// The sums over the warp of sixteen numbers; each lane gets the one that it counts, modulo sixteen.
__device__ __forceinline__ float transposed_sum(float (&v)[16]) {
  exchange<8>(v); exchange<4>(v); exchange<2>(v); exchange<1>(v);
  return v[0] + __shfl_xor_sync(~0u, v[0], 16);
}
// At most eight neighbouring numbers, then 0.
__device__ __forceinline__ void load_eight(const float* p, int count, float (&v)[8]) {
  if (count >= 8 && ((size_t)p & 15) == 0) {
    const float4 low = __ldg(reinterpret_cast<const float4*>(p)), high = __ldg(reinterpret_cast<const float4*>(p) + 1);
    v[0] = low.x; v[1] = low.y; v[2] = low.z; v[3] = low.w;
    v[4] = high.x; v[5] = high.y; v[6] = high.z; v[7] = high.w;
  } else {
#pragma unroll
    for (int r = 0; r < 8; ++r) v[r] = r < count ? __ldg(p + r) : 0.f;
  }
}
// Eight numbers of each of two rows, summed by the block and written from column r0 on.
__device__ __forceinline__ void store_two(float (&acc)[16], int first, int n, int r0, int rank, float* out) {
  __shared__ float part[8][16];
  __syncthreads();
  const float sum = transposed_sum(acc);
  if ((threadIdx.x & 31) < 16) part[threadIdx.x >> 5][threadIdx.x & 15] = sum;
  __syncthreads();
  if (threadIdx.x < 16) {
    float v = 0.f;
    for (int w = 0; w < 8; ++w) v += part[w][threadIdx.x];
    const int i = first + threadIdx.x / 8, r = r0 + threadIdx.x % 8;
    if (i < n && r < rank) out[(size_t)i * rank + r] = v;
  }
}
// Two of the n rows of x, from `first`, times a.
template <typename T>
__device__ __forceinline__ void two_rows(const T* x, const float* a, int first, int n, int K, int rank, float* inner) {
#pragma unroll 1
  for (int r0 = 0; r0 < rank; r0 += 8) {
    float acc[16] = {};
#pragma unroll 2
    for (int k = threadIdx.x; k < K; k += 256) {
      float ak[8], v[2];
#pragma unroll
      for (int i = 0; i < 2; ++i) v[i] = first + i < n ? static_cast<float>(__ldg(x + (size_t)(first + i) * K + k)) : 0.f;
      load_eight(a + (size_t)k * rank + r0, rank - r0, ak);
#pragma unroll
      for (int i = 0; i < 2; ++i)
#pragma unroll
        for (int r = 0; r < 8; ++r) acc[i * 8 + r] += v[i] * ak[r];
    }
    store_two(acc, first, n, r0, rank, inner);
  }
}
// A block's eight columns, each summed over the 32 threads that hold it: the sum of acc[e] of column c goes to put(e, c, sum).
template <int N, typename Put>
__device__ __forceinline__ void sum_columns(float (&acc)[N], Put put) {
  __shared__ float part[8][N][8];
  __syncthreads();
#pragma unroll
  for (int e = 0; e < N; ++e) {
    float v = acc[e] + __shfl_xor_sync(~0u, acc[e], 16);
    v += __shfl_xor_sync(~0u, v, 8);
    if ((threadIdx.x & 31) < 8) part[threadIdx.x >> 5][e][threadIdx.x & 7] = v;
  }
  __syncthreads();
  const int e = threadIdx.x >> 3, c = threadIdx.x & 7;
  if (e < N) {
    float v = 0.f;
    for (int w = 0; w < 8; ++w) v += part[w][e][c];
    put(e, c, v);
  }
}
// What 1024 words of the packed weight hold, in the block of this number.
template <typename T, int GROUP, int BITS>
__device__ __forceinline__ void unpack(const unsigned* packed, const T* scales, const T* biases, int block, size_t words, T* w) {
  constexpr int VALUES = 32 / BITS;
  unsigned q[4];
  float s[4], z[4];
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    const size_t word = min((size_t)block * 1024 + i * 256 + threadIdx.x, words - 1);
    q[i] = __ldg(packed + word);
    s[i] = static_cast<float>(__ldg(scales + word * VALUES / GROUP));
    z[i] = static_cast<float>(__ldg(biases + word * VALUES / GROUP));
  }
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    const size_t word = (size_t)block * 1024 + i * 256 + threadIdx.x;
    if (word >= words) return;
    alignas(8) T v[VALUES];
#pragma unroll
    for (int e = 0; e < VALUES; ++e) v[e] = static_cast<T>(s[i] * (float)((q[i] >> (BITS * e)) & ((1u << BITS) - 1)) + z[i]);
#pragma unroll
    for (int e = 0; e < VALUES * (int)sizeof(T) / 8; ++e)
      reinterpret_cast<int2*>(w + word * VALUES)[e] = reinterpret_cast<const int2*>(v)[e];
  }
}
// The first blocks: inner = x · a, two rows each. The others, four rows of the weight each: `ratios`, which are factor = m / norm and norm;
// and w, the weight as it is for the product that follows.
template <typename T, int GROUP, int BITS>
__device__ __forceinline__ void prepare(const T* x, const unsigned* packed, const T* scales, const T* biases, const float* a, const float* b,
    const float* m, float scale, float least, int n, int K, int O, int rank, float* inner, float* ratios, T* w) {
  const int row_blocks = (n + 1) / 2;
  if ((int)blockIdx.x < row_blocks) {
    two_rows(x, a, blockIdx.x * 2, n, K, rank, inner);
    return;
  }
  const int j0 = (blockIdx.x - row_blocks) * 4;
  __shared__ float bs[4][64];
  const int i = threadIdx.x & 3, r = threadIdx.x >> 2;
  bs[i][r] = r < rank && j0 + i < O ? scale * b[(size_t)r * O + j0 + i] : 0.f;
  __syncthreads();
  constexpr int VALUES = 32 / BITS;
  const int words = K / VALUES, groups = K / GROUP;
  float acc[4] = {};
#pragma unroll 1
  for (int k = threadIdx.x * 2; k < K; k += 512) {
    float s[4], v[4][2];
    unsigned q[4];
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const size_t j = min(j0 + i, O - 1);
      q[i] = __ldg(packed + j * words + k / VALUES);
      s[i] = static_cast<float>(__ldg(scales + j * groups + k / GROUP));
      v[i][0] = v[i][1] = static_cast<float>(__ldg(biases + j * groups + k / GROUP));
    }
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const unsigned two = q[i] >> (BITS * (k % VALUES));
      v[i][0] += s[i] * (float)(two & ((1u << BITS) - 1));
      v[i][1] += s[i] * (float)((two >> BITS) & ((1u << BITS) - 1));
      struct alignas(2 * sizeof(T)) Two { T low, high; };
      if (j0 + i < O) *reinterpret_cast<Two*>(w + (size_t)(j0 + i) * K + k) = {static_cast<T>(v[i][0]), static_cast<T>(v[i][1])};
    }
#pragma unroll 1
    for (int r0 = 0; r0 < rank; r0 += 8) {
      float low[8], high[8];
      load_eight(a + (size_t)k * rank + r0, rank - r0, low);
      load_eight(a + (size_t)(k + 1) * rank + r0, rank - r0, high);
#pragma unroll
      for (int i = 0; i < 4; ++i)
#pragma unroll
        for (int r = 0; r < 8; ++r) {
          v[i][0] += low[r] * bs[i][r0 + r];
          v[i][1] += high[r] * bs[i][r0 + r];
        }
    }
#pragma unroll
    for (int i = 0; i < 4; ++i) acc[i] += v[i][0] * v[i][0] + v[i][1] * v[i][1];
  }
  __shared__ float part[8][4];
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    const float v = warp_sum(acc[i]);
    if ((threadIdx.x & 31) == 0) part[threadIdx.x >> 5][i] = v;
  }
  __syncthreads();
  const int j = j0 + threadIdx.x;
  if (threadIdx.x < 4 && j < O) {
    float v = 0.f;
    for (int w = 0; w < 8; ++w) v += part[w][threadIdx.x];
    const float length = sqrtf(v), f = m[j] / length;
    ratios[j] = fabsf(f) < least ? least : f;
    ratios[O + j] = length;
  }
}
// before = (q + scale · inner · b) · factor, y = before + bias, each rounded once; a thread has a column of eight rows. Without a bias y is all
// there is.
template <typename T>
__device__ __forceinline__ void finish(const T* q, const T* bias, bool biased, const float* b, const float* inner, const float* ratios, float scale,
    int n, int O, int rank, T* y, T* before) {
  const int j = blockIdx.x * blockDim.x + threadIdx.x, first = blockIdx.y * 8;
  if (j >= O) return;
  const float f = __ldg(ratios + j);
  const float own = biased ? static_cast<float>(__ldg(bias + j)) : 0.f;
  float v[8];
#pragma unroll
  for (int e = 0; e < 8; ++e) v[e] = first + e < n ? static_cast<float>(__ldg(q + (size_t)(first + e) * O + j)) : 0.f;
#pragma unroll 1
  for (int r0 = 0; r0 < rank; r0 += 8) {
    float bj[8];
#pragma unroll
    for (int r = 0; r < 8; ++r) bj[r] = r0 + r < rank ? scale * __ldg(b + (size_t)(r0 + r) * O + j) : 0.f;
#pragma unroll
    for (int e = 0; e < 8; ++e) {
      if (first + e >= n) break;
      float in[8];
      load_eight(inner + (size_t)(first + e) * rank + r0, rank - r0, in);
#pragma unroll
      for (int r = 0; r < 8; ++r) v[e] += in[r] * bj[r];
    }
  }
#pragma unroll
  for (int e = 0; e < 8; ++e) {
    if (first + e >= n) return;
    const float z = v[e] * f;
    y[(size_t)(first + e) * O + j] = static_cast<T>(z + own);
    if (biased) before[(size_t)(first + e) * O + j] = static_cast<T>(z);
  }
}
// The first blocks, eight columns each: dq = dy · factor, and `small`, the gradients of b and then of m, summed over the rows. The next, two
// rows each: through = scale · dq · bᵀ, summed over the columns. The last: w once more.
template <typename T, int GROUP, int BITS>
__device__ __forceinline__ void back(const T* dy, const T* y, const unsigned* packed, const T* scales, const T* biases, const float* b,
    const float* inner, const float* ratios, float scale, int n, int K, int O, int rank, T* dq, T* w, float* small, float* through) {
  const int column_blocks = (O + 7) / 8, row_blocks = (n + 1) / 2;
  if ((int)blockIdx.x < column_blocks) {
    const int j = blockIdx.x * 8 + (threadIdx.x & 7);
    const float f = j < O ? __ldg(ratios + j) : 0.f;
#pragma unroll 1
    for (int r0 = 0; r0 < rank; r0 += 8) {
      float acc[9] = {};
#pragma unroll 1
      for (int from = threadIdx.x >> 3; from < n && j < O; from += 32 * 4) {
        float d[4], u[4];
#pragma unroll
        for (int e = 0; e < 4; ++e) {
          const int i = from + 32 * e;
          d[e] = i < n ? static_cast<float>(__ldg(dy + (size_t)i * O + j)) : 0.f;
          u[e] = i < n ? static_cast<float>(__ldg(y + (size_t)i * O + j)) : 0.f;
        }
#pragma unroll
        for (int e = 0; e < 4; ++e) {
          const int i = from + 32 * e;
          if (i >= n) break;
          float in[8];
          load_eight(inner + (size_t)i * rank + r0, rank - r0, in);
#pragma unroll
          for (int r = 0; r < 8; ++r) acc[r] += in[r] * d[e];
          acc[8] += d[e] * u[e];
          if (r0 == 0) dq[(size_t)i * O + j] = static_cast<T>(d[e] * f);
        }
      }
      sum_columns<9>(acc, [&](int e, int c, float v) {
        const int column = blockIdx.x * 8 + c, r = r0 + e;
        if (column >= O) return;
        const float f = __ldg(ratios + column);
        if (e == 8 && r0 == 0) small[(size_t)rank * O + column] = v / (f * __ldg(ratios + O + column));
        if (e < 8 && r < rank) small[(size_t)r * O + column] = scale * f * v;
      });
    }
    return;
  }
  if ((int)blockIdx.x < column_blocks + row_blocks) {
    const int first = (blockIdx.x - column_blocks) * 2;
#pragma unroll 1
    for (int r0 = 0; r0 < rank; r0 += 8) {
      float acc[16] = {};
#pragma unroll 2
      for (int j = threadIdx.x; j < O; j += 256) {
        float bj[8], v[2];
#pragma unroll
        for (int i = 0; i < 2; ++i) v[i] = first + i < n ? static_cast<float>(__ldg(dy + (size_t)(first + i) * O + j)) : 0.f;
        const float f = scale * __ldg(ratios + j);
#pragma unroll
        for (int r = 0; r < 8; ++r) bj[r] = r0 + r < rank ? f * __ldg(b + (size_t)(r0 + r) * O + j) : 0.f;
#pragma unroll
        for (int i = 0; i < 2; ++i)
#pragma unroll
          for (int r = 0; r < 8; ++r) acc[i * 8 + r] += v[i] * bj[r];
      }
      store_two(acc, first, n, r0, rank, through);
    }
    return;
  }
  unpack<T, GROUP, BITS>(packed, scales, biases, blockIdx.x - column_blocks - row_blocks, (size_t)O * K * BITS / 32, w);
}
// Eight columns of x in a block: dx = dxq + through · aᵀ, and da, the gradient of a, summed over the rows.
template <typename T>
__device__ __forceinline__ void last(const T* x, const T* dxq, const float* a, const float* through, int n, int K, int rank, T* dx, float* da) {
  const int k = blockIdx.x * 8 + (threadIdx.x & 7);
#pragma unroll 1
  for (int r0 = 0; r0 < rank; r0 += 8) {
    float acc[8] = {};
#pragma unroll 1
    for (int from = threadIdx.x >> 3; from < n && k < K; from += 32 * 4) {
      float v[4], d[4];
#pragma unroll
      for (int e = 0; e < 4; ++e) {
        const int i = from + 32 * e;
        v[e] = i < n ? static_cast<float>(__ldg(x + (size_t)i * K + k)) : 0.f;
        d[e] = i < n && r0 == 0 ? static_cast<float>(__ldg(dxq + (size_t)i * K + k)) : 0.f;
      }
#pragma unroll 1
      for (int s0 = r0; s0 < rank; s0 += 8) {
        float ak[8];
        load_eight(a + (size_t)k * rank + s0, rank - s0, ak);
#pragma unroll
        for (int e = 0; e < 4; ++e) {
          const int i = from + 32 * e;
          if (i >= n) break;
          float t[8];
          load_eight(through + (size_t)i * rank + s0, rank - s0, t);
#pragma unroll
          for (int r = 0; r < 8; ++r) {
            d[e] += t[r] * ak[r];
            if (s0 == r0) acc[r] += v[e] * t[r];
          }
        }
        if (r0 > 0) break;
      }
#pragma unroll
      for (int e = 0; e < 4; ++e) {
        const int i = from + 32 * e;
        if (i < n && r0 == 0) dx[(size_t)i * K + k] = static_cast<T>(d[e]);
      }
    }
    sum_columns<8>(acc, [&](int e, int c, float v) {
      const int column = blockIdx.x * 8 + c, r = r0 + e;
      if (column < K && r < rank) da[(size_t)column * rank + r] = v;
    });
  }
}
";

/// The four tasks of a layer are one kernel, told apart by the dimensions of `task`: MLX compiles every kernel anew in each process, which takes
/// seconds, and most of them go into what it includes.
const TASKS: &str = r"
  const float scale = __int_as_float(SCALE);
  const int O = packed_shape[0], K = packed_shape[1] * (32 / BITS);
  int n = 1; for (int i = 0; i + 1 < rows_ndim; ++i) n *= rows_shape[i];
  switch (task_ndim) {
    case 1: return prepare<T, GROUP, BITS>(rows, packed, scales, biases, lora, other, task, scale, __int_as_float(LEAST), n, K, O, lora_shape[1], thin, narrow, wide);
    case 2: return finish<T>(rows, more, more_ndim == 1, lora, other, task, scale, n, O, lora_shape[0], full, wide);
    case 3: return back<T, GROUP, BITS>(rows, more, packed, scales, biases, lora, other, task, scale, n, K, O, lora_shape[0], full, wide, narrow, thin);
    default: return last<T>(rows, more, lora, other, n, K, lora_shape[1], full, narrow);
  }
";

fn blocks(size: i32, each: i32) -> i32 {
    (size + each - 1) / each
}

/// The kernel of a layer and what all its tasks are given.
struct Tasks {
    kernel: GpuKernel,
    names: [(&'static str, Template); 5],
    weight: QuantizedWeight,
    output: i32,
    input: i32,
    rank: i32,
}

/// What one task takes and gives; `[1]` is the shape of what isn't wanted.
struct Task<'a> {
    rows: &'a Array,
    more: &'a Array,
    lora: &'a Array,
    other: &'a Array,
    task: &'a Array,
    full: &'a [i32],
    wide: &'a [i32],
    narrow: &'a [i32],
    thin: &'a [i32],
    grid: [i32; 3],
    group: i32,
}

impl Tasks {
    fn new(layer: &Layer, weight: &QuantizedWeight) -> Result<Self> {
        let inputs = ["rows", "more", "packed", "scales", "biases", "lora", "other", "task"];
        let kernel = GpuKernel::new("dora", &inputs, &["full", "wide", "narrow", "thin"], HEADER, TASKS)?;
        // The magnitude's gradient is found by dividing by the factor, so that may not be 0. What is below this is below rounding.
        let least = if layer.dtype == Dtype::Float16 { 0.5_f32.powi(12) } else { 0.5_f32.powi(40) };
        let names = [
            ("T", Template::Dtype(layer.dtype)),
            ("GROUP", Template::Int(weight.group_size)),
            ("BITS", Template::Int(weight.bits)),
            ("SCALE", Template::Int(layer.scale.to_bits() as i32)),
            ("LEAST", Template::Int(least.to_bits() as i32)),
        ];
        Ok(Self {
            kernel,
            names,
            weight: weight.clone(),
            output: layer.output,
            input: layer.input,
            rank: layer.rank,
        })
    }

    fn run(&self, task: &Task<'_>) -> Result<[Array; 4]> {
        let (own, float) = (task.rows.dtype(), Dtype::Float32);
        let [x, y, z] = task.grid;
        let launch = Launch {
            outputs: &[(task.full, own), (task.wide, own), (task.narrow, float), (task.thin, float)],
            zeroed: false,
            grid: [x * task.group, y, z],
            group: [task.group, 1, 1],
            template: &self.names,
        };
        let QuantizedWeight { packed, scales, biases, .. } = &self.weight;
        let inputs = [task.rows, task.more, packed, scales, biases, task.lora, task.other, task.task];
        let made = self.kernel.call(&inputs, &launch)?;
        made.try_into().map_err(|_| Error::new("four outputs"))
    }

    /// So many blocks unpack the weight.
    fn unpacking(&self) -> i32 {
        blocks(self.output * (self.input * self.weight.bits / 32), 1024)
    }

    fn rows(&self, x: &Array) -> Result<i32> {
        Ok(x.size() as i32 / x.dim(-1)?)
    }
}

/// A layer without bias gives the kernel something of two dimensions and of the same type, so that it is the same kernel.
fn bias_or_none(layer: &Layer) -> Result<Array> {
    match &layer.bias {
        Some(bias) => bias.astype(layer.dtype),
        None => ops::zeros(&[1, 1], layer.dtype),
    }
}

fn source(layer: &Layer, weight: &QuantizedWeight) -> Result<Function> {
    let tasks = Rc::new(Tasks::new(layer, weight)?);
    let (bias, biased) = (bias_or_none(layer)?, layer.bias.is_some());
    let there = tasks.clone();
    let forward = move |inputs: &[Array]| {
        let [x, a, b, m] = inputs else { return Err(Error::new("four inputs")) };
        let Tasks { output, input, rank, .. } = *there;
        let n = there.rows(x)?;
        let prepare = Task {
            rows: x,
            more: x,
            lora: a,
            other: b,
            task: m,
            full: &[1],
            wide: &[output, input],
            narrow: &[2, output],
            thin: &[n, rank],
            grid: [blocks(n, 2) + blocks(output, 4), 1, 1],
            group: 256,
        };
        let [_, w, ratios, inner] = there.run(&prepare)?;
        let q = x.matmul(&w.t()?)?;
        let finish = Task {
            rows: &q,
            more: &bias,
            lora: b,
            other: &inner,
            task: &ratios,
            full: q.shape(),
            wide: if biased { q.shape() } else { &[1] },
            narrow: &[1],
            thin: &[1],
            grid: [blocks(output, 128), blocks(n, 8), 1],
            group: 128,
        };
        let [y, before, ..] = there.run(&finish)?;
        let before = if biased { before } else { y.clone() };
        Ok(vec![y, before, inner, ratios])
    };
    let backward = move |inputs: &[Array], cotangents: &[Array], outputs: &[Array]| {
        let ([x, a, b, _], [dy, ..], [_, y, inner, ratios]) = (inputs, cotangents, outputs) else {
            return Err(Error::new("four inputs and outputs"));
        };
        let Tasks { output, input, rank, .. } = *tasks;
        let n = tasks.rows(x)?;
        let back = Task {
            rows: dy,
            more: y,
            lora: b,
            other: inner,
            task: &ratios.expand_dims(0)?,
            full: dy.shape(),
            wide: &[output, input],
            narrow: &[rank + 1, output],
            thin: &[1, 1, n, rank],
            grid: [blocks(output, 8) + blocks(n, 2) + tasks.unpacking(), 1, 1],
            group: 256,
        };
        let [dq, w, small, through] = tasks.run(&back)?;
        let last = Task {
            rows: x,
            more: &dq.matmul(&w)?,
            lora: a,
            other: &through,
            task: &through,
            full: x.shape(),
            wide: &[1],
            narrow: &[input, rank],
            thin: &[1],
            grid: [blocks(input, 8), 1, 1],
            group: 256,
        };
        let [dx, _, da, _] = tasks.run(&last)?;
        Ok(vec![dx, da, small.slice(0, 0, rank)?, small.slice(0, rank, rank + 1)?.squeeze(&[0])?])
    };
    custom_vjp(forward, backward)
}

impl QuantizedDora {
    fn new(layer: &Layer, weight: &QuantizedWeight) -> Result<Self> {
        if gpu::backend() == Backend::Cuda && [2, 4, 8].contains(&weight.bits) && layer.rank <= 64 {
            return Ok(Self::Source(source(layer, weight)?));
        }
        let squares = weight.dequantize()?.astype(Dtype::Float32)?.square()?.sum(&[1], false)?;
        squares.eval()?;
        Ok(Self::Operations { weight: weight.clone(), squares, bias: layer.bias.clone(), scale: layer.scale })
    }
}

fn by_operations(
    weight: &QuantizedWeight,
    squares: &Array,
    scale: f32,
    x: &Array,
    adapter: &Adapter,
) -> Result<Array> {
    let (a, b) = (adapter.lora_a.stop_gradient()?, adapter.lora_b.stop_gradient()?);
    let z = x.matmul(&adapter.lora_a)?.matmul(&adapter.lora_b)?;
    let y = weight.matmul(x)?.add(&(z * scale).astype(x.dtype())?)?;
    let wide = QuantizedWeight {
        scales: weight.scales.astype(Dtype::Float32)?,
        biases: weight.biases.astype(Dtype::Float32)?,
        ..weight.clone()
    };
    let mixed = wide.matmul(&a.t()?)? * (2.0 * scale);
    let gram = a.t()?.matmul(&a)?.matmul(&b)? * (scale * scale);
    let norm = squares.add(&mixed.add(&gram)?.multiply(&b)?.sum(&[0], false)?)?.sqrt()?;
    y.multiply(&adapter.magnitude()?.divide(&norm)?.astype(x.dtype())?)
}

impl Kernel for QuantizedDora {
    fn forward(&self, x: &Array, adapter: &Adapter) -> Result<Array> {
        match self {
            Self::Source(layer) => {
                Ok(layer.call(&[x, &adapter.lora_a, &adapter.lora_b, adapter.magnitude()?])?.remove(0))
            }
            Self::Operations { weight, squares, bias, scale } => {
                let y = by_operations(weight, squares, *scale, x, adapter)?;
                match bias {
                    Some(bias) => y.add(bias),
                    None => Ok(y),
                }
            }
        }
    }
}
// EVOLVE-BLOCK-END

/// Makes the kernel of one layer. Layers that aren't quantized take the API's own.
pub fn build(layer: &Layer) -> Result<Box<dyn Kernel>> {
    match &layer.weight {
        Weight::Quantized(weight) => Ok(Box::new(QuantizedDora::new(layer, weight)?)),
        Weight::Plain(_) => Ok(Box::new(PlainDora::new(layer)?)),
    }
}
