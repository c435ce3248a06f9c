//! A frozen quantized linear layer with a LoRA adapter: y = x · weightᵀ + bias + scale · (x · lora_a) · lora_b.
//!
//! The search starts here and may rewrite everything between the two marks. The rest stays as it is.

use kernel_api::*;

// EVOLVE-BLOCK-START
use std::rc::Rc;

use kernel_api::gpu::{self, Backend, GpuKernel, Launch, Template};
use kernel_api::transform::{Function, custom_vjp};

/// On a GPU of NVIDIA's four tasks in CUDA source and two plain products with the weight, unpacked a moment before, are the whole layer. At
/// such sizes a step is bound by how many kernels are started, and MLX's packed products are slower than its plain ones. Elsewhere, the
/// packed product.
enum QuantizedLora {
    Source(Function),
    Operations { weight: QuantizedWeight, bias: Option<Array>, scale: f32 },
}

/// The rank is taken eight by eight. All but `finish` run in blocks of 256 threads.
const HEADER: &str = r"
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
// The first blocks: inner = x · a in float32, two rows each. The others: w, the weight as it is for the product that follows.
template <typename T, int GROUP, int BITS>
__device__ __forceinline__ void prepare(const T* x, const unsigned* packed, const T* scales, const T* biases, const float* a, int n, int K, int O,
    int rank, float* inner, T* w) {
  const int row_blocks = (n + 1) / 2;
  if ((int)blockIdx.x < row_blocks) {
    two_rows(x, a, blockIdx.x * 2, n, K, rank, inner);
    return;
  }
  unpack<T, GROUP, BITS>(packed, scales, biases, blockIdx.x - row_blocks, (size_t)O * K * BITS / 32, w);
}
// y = q + scale · inner · b + bias, rounded once; a thread has a column of eight rows.
template <typename T>
__device__ __forceinline__ void finish(const T* q, const T* bias, bool biased, const float* b, const float* inner, float scale, int n, int O,
    int rank, T* y) {
  const int j = blockIdx.x * blockDim.x + threadIdx.x, first = blockIdx.y * 8;
  if (j >= O) return;
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
    y[(size_t)(first + e) * O + j] = static_cast<T>(v[e] + own);
  }
}
// The first blocks, eight columns each: db, the gradient of b, summed over the rows. The next, two rows each: through = scale · dy · bᵀ, summed
// over the columns. The last: w once more.
template <typename T, int GROUP, int BITS>
__device__ __forceinline__ void back(const T* dy, const unsigned* packed, const T* scales, const T* biases, const float* b, const float* inner,
    float scale, int n, int K, int O, int rank, float* db, float* through, T* w) {
  const int column_blocks = (O + 7) / 8, row_blocks = (n + 1) / 2;
  if ((int)blockIdx.x < column_blocks) {
    const int j = blockIdx.x * 8 + (threadIdx.x & 7);
#pragma unroll 1
    for (int r0 = 0; r0 < rank; r0 += 8) {
      float acc[8] = {};
#pragma unroll 1
      for (int from = threadIdx.x >> 3; from < n && j < O; from += 32 * 4) {
        float d[4];
#pragma unroll
        for (int e = 0; e < 4; ++e) {
          const int i = from + 32 * e;
          d[e] = i < n ? static_cast<float>(__ldg(dy + (size_t)i * O + j)) : 0.f;
        }
#pragma unroll
        for (int e = 0; e < 4; ++e) {
          const int i = from + 32 * e;
          if (i >= n) break;
          float in[8];
          load_eight(inner + (size_t)i * rank + r0, rank - r0, in);
#pragma unroll
          for (int r = 0; r < 8; ++r) acc[r] += in[r] * d[e];
        }
      }
      sum_columns<8>(acc, [&](int e, int c, float v) {
        const int column = blockIdx.x * 8 + c, r = r0 + e;
        if (column < O && r < rank) db[(size_t)r * O + column] = scale * v;
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
#pragma unroll
        for (int r = 0; r < 8; ++r) bj[r] = r0 + r < rank ? scale * __ldg(b + (size_t)(r0 + r) * O + j) : 0.f;
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
    case 1: return prepare<T, GROUP, BITS>(rows, packed, scales, biases, lora, n, K, O, lora_shape[1], thin, wide);
    case 2: return finish<T>(rows, more, more_ndim == 1, lora, other, scale, n, O, lora_shape[0], full);
    case 3: return back<T, GROUP, BITS>(rows, packed, scales, biases, lora, other, scale, n, K, O, lora_shape[0], narrow, thin, wide);
    default: return last<T>(rows, more, lora, other, n, K, lora_shape[1], full, narrow);
  }
";

fn blocks(size: i32, each: i32) -> i32 {
    (size + each - 1) / each
}

/// The kernel of a layer and what all its tasks are given.
struct Tasks {
    kernel: GpuKernel,
    names: [(&'static str, Template); 4],
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
        let kernel = GpuKernel::new("lora", &inputs, &["full", "wide", "narrow", "thin"], HEADER, TASKS)?;
        let names = [
            ("T", Template::Dtype(layer.dtype)),
            ("GROUP", Template::Int(weight.group_size)),
            ("BITS", Template::Int(weight.bits)),
            ("SCALE", Template::Int(layer.scale.to_bits() as i32)),
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
    let bias = bias_or_none(layer)?;
    let flat = ops::zeros(&[1], Dtype::Float32)?;
    let there = tasks.clone();
    let forward = move |inputs: &[Array]| {
        let [x, a, b] = inputs else { return Err(Error::new("three inputs")) };
        let Tasks { output, input, rank, .. } = *there;
        let n = there.rows(x)?;
        let prepare = Task {
            rows: x,
            more: x,
            lora: a,
            other: a,
            task: &flat,
            full: &[1],
            wide: &[output, input],
            narrow: &[1],
            thin: &[n, rank],
            grid: [blocks(n, 2) + there.unpacking(), 1, 1],
            group: 256,
        };
        let [_, w, _, inner] = there.run(&prepare)?;
        let q = x.matmul(&w.t()?)?;
        let finish = Task {
            rows: &q,
            more: &bias,
            lora: b,
            other: &inner,
            task: &inner,
            full: q.shape(),
            wide: &[1],
            narrow: &[1],
            thin: &[1],
            grid: [blocks(output, 128), blocks(n, 8), 1],
            group: 128,
        };
        let [y, ..] = there.run(&finish)?;
        Ok(vec![y, inner])
    };
    let backward = move |inputs: &[Array], cotangents: &[Array], outputs: &[Array]| {
        let ([x, a, b], [dy, ..], [_, inner]) = (inputs, cotangents, outputs) else {
            return Err(Error::new("three inputs and two outputs"));
        };
        let Tasks { output, input, rank, .. } = *tasks;
        let n = tasks.rows(x)?;
        let back = Task {
            rows: dy,
            more: dy,
            lora: b,
            other: inner,
            task: &inner.expand_dims(0)?,
            full: &[1],
            wide: &[output, input],
            narrow: &[rank, output],
            thin: &[1, 1, n, rank],
            grid: [blocks(output, 8) + blocks(n, 2) + tasks.unpacking(), 1, 1],
            group: 256,
        };
        let [_, w, db, through] = tasks.run(&back)?;
        let last = Task {
            rows: x,
            more: &dy.matmul(&w)?,
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
        Ok(vec![dx, da, db])
    };
    custom_vjp(forward, backward)
}

impl QuantizedLora {
    fn new(layer: &Layer, weight: &QuantizedWeight) -> Result<Self> {
        if gpu::backend() == Backend::Cuda && [2, 4, 8].contains(&weight.bits) {
            return Ok(Self::Source(source(layer, weight)?));
        }
        Ok(Self::Operations { weight: weight.clone(), bias: layer.bias.clone(), scale: layer.scale })
    }
}

impl Kernel for QuantizedLora {
    fn forward(&self, x: &Array, adapter: &Adapter) -> Result<Array> {
        let Adapter { lora_a, lora_b, .. } = adapter;
        match self {
            Self::Source(layer) => Ok(layer.call(&[x, lora_a, lora_b])?.remove(0)),
            Self::Operations { weight, bias, scale } => {
                let mut y = weight.matmul(x)?;
                if let Some(bias) = bias {
                    y = y.add(bias)?;
                }
                let z = x.matmul(lora_a)?.matmul(&(lora_b * *scale))?;
                y.add(&z.astype(x.dtype())?)
            }
        }
    }
}
// EVOLVE-BLOCK-END

/// Makes the kernel of one layer. Layers that aren't quantized take the API's own.
pub fn build(layer: &Layer) -> Result<Box<dyn Kernel>> {
    match &layer.weight {
        Weight::Quantized(weight) => Ok(Box::new(QuantizedLora::new(layer, weight)?)),
        Weight::Plain(_) => Ok(Box::new(PlainLora::new(layer)?)),
    }
}
