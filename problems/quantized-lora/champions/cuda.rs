//! A frozen quantized linear layer with a LoRA adapter: y = x · weightᵀ + bias + scale · (x · lora_a) · lora_b.
//!
//! The search starts here and may rewrite everything between the two marks. The rest stays as it is.

use kernel_api::*;

// EVOLVE-BLOCK-START
use kernel_api::gpu::{self, Backend, GpuKernel, Launch, Template};
use kernel_api::transform::{Function, custom_vjp};

/// On a GPU of NVIDIA's four kernels in CUDA source and the two products with the packed weight are the whole layer, forward and backward:
/// at such sizes a step is bound by how many kernels are started. Elsewhere, the packed product.
enum QuantizedLora {
    Source(Function),
    Operations { weight: QuantizedWeight, bias: Option<Array>, scale: f32 },
}

const HEADER: &str = r"
__device__ __forceinline__ float warp_sum(float v) {
  for (int o = 16; o; o >>= 1) v += __shfl_xor_sync(0xffffffffu, v, o);
  return v;
}
__device__ __forceinline__ float half_warp_sum(float v) {
  for (int o = 8; o; o >>= 1) v += __shfl_xor_sync(0xffffffffu, v, o);
  return v;
}
";

/// Sums are kept for R numbers, the rank or more. `settings` is the adapter's scale.
///
/// inner = x · a in float32, four rows for each block of 256 threads.
const INNER: &str = r"
  const int K = a_shape[0];
  const int rank = a_shape[1];
  int n = 1; for (int i = 0; i + 1 < x_ndim; ++i) n *= x_shape[i];
  const int lane = threadIdx.x & 31, warp = threadIdx.x >> 5;
  __shared__ float part[8][4 * R];
  const int first = blockIdx.x * 4;
  float acc[4][R];
  for (int i = 0; i < 4; ++i) for (int r = 0; r < R; ++r) acc[i][r] = 0.f;
  for (int k = threadIdx.x; k < K; k += 256) {
    float ak[R];
    for (int r = 0; r < R; ++r) ak[r] = r < rank ? a[(size_t)k * rank + r] : 0.f;
    for (int i = 0; i < 4; ++i) {
      const float v = first + i < n ? static_cast<float>(x[(size_t)(first + i) * K + k]) : 0.f;
      for (int r = 0; r < R; ++r) acc[i][r] += v * ak[r];
    }
  }
  for (int i = 0; i < 4; ++i) for (int r = 0; r < R; ++r) {
    const float v = warp_sum(acc[i][r]);
    if (lane == 0) part[warp][i * R + r] = v;
  }
  __syncthreads();
  for (int t = threadIdx.x; t < 4 * R; t += 256) {
    float v = 0.f;
    for (int w = 0; w < 8; ++w) v += part[w][t];
    if (first + t / R < n && t % R < rank) inner[(size_t)(first + t / R) * rank + t % R] = v;
  }
";

/// y = q + scale · inner · b + bias, rounded once; a thread has a column of eight rows.
const FINISH: &str = r"
  const int O = q_shape[q_ndim - 1];
  const int rank = b_shape[0];
  int n = 1; for (int i = 0; i + 1 < q_ndim; ++i) n *= q_shape[i];
  const int j = blockIdx.x * blockDim.x + threadIdx.x;
  if (j >= O) return;
  float bj[R];
  for (int r = 0; r < R; ++r) bj[r] = r < rank ? settings[0] * b[(size_t)r * O + j] : 0.f;
  const float own = BIAS ? static_cast<float>(bias[j]) : 0.f;
  const int first = blockIdx.y * 8;
  for (int i = first; i < min(first + 8, n); ++i) {
    float z = 0.f;
    for (int r = 0; r < R; ++r) z += (r < rank ? inner[(size_t)i * rank + r] : 0.f) * bj[r];
    y[(size_t)i * O + j] = static_cast<T>(static_cast<float>(q[(size_t)i * O + j]) + z + own);
  }
";

/// The first blocks, sixteen columns each: the gradient of b, summed over the rows. The others, four rows each: through = scale · dy · bᵀ,
/// summed over the columns.
const BACK: &str = r"
  const int O = dy_shape[dy_ndim - 1];
  const int rank = b_shape[0];
  int n = 1; for (int i = 0; i + 1 < dy_ndim; ++i) n *= dy_shape[i];
  const float scale = settings[0];
  const int column_blocks = (O + 15) / 16;
  if ((int)blockIdx.x < column_blocks) {
    const int tx = threadIdx.x & 15, ty = threadIdx.x >> 4, j = blockIdx.x * 16 + tx;
    float acc[R];
    for (int r = 0; r < R; ++r) acc[r] = 0.f;
    if (j < O) {
      for (int i = ty; i < n; i += 16) {
        const float d = static_cast<float>(dy[(size_t)i * O + j]);
        for (int r = 0; r < R; ++r) acc[r] += (r < rank ? inner[(size_t)i * rank + r] : 0.f) * d;
      }
    }
    __shared__ float tile[16][17];
    for (int r = 0; r < R; ++r) {
      __syncthreads();
      tile[ty][tx] = acc[r];
      __syncthreads();
      const float v = half_warp_sum(tile[tx][ty]);
      const int column = blockIdx.x * 16 + ty;
      if (tx == 0 && column < O && r < rank) db[(size_t)r * O + column] = scale * v;
    }
    return;
  }
  const int first = (blockIdx.x - column_blocks) * 4;
  float acc[4][R];
  for (int i = 0; i < 4; ++i) for (int r = 0; r < R; ++r) acc[i][r] = 0.f;
  for (int j = threadIdx.x; j < O; j += 256) {
    float bj[R];
    for (int r = 0; r < R; ++r) bj[r] = r < rank ? scale * b[(size_t)r * O + j] : 0.f;
    for (int i = 0; i < 4; ++i) {
      const float d = first + i < n ? static_cast<float>(dy[(size_t)(first + i) * O + j]) : 0.f;
      for (int r = 0; r < R; ++r) acc[i][r] += d * bj[r];
    }
  }
  __shared__ float part[8][4 * R];
  const int lane = threadIdx.x & 31, warp = threadIdx.x >> 5;
  for (int i = 0; i < 4; ++i) for (int r = 0; r < R; ++r) {
    const float v = warp_sum(acc[i][r]);
    if (lane == 0) part[warp][i * R + r] = v;
  }
  __syncthreads();
  for (int t = threadIdx.x; t < 4 * R; t += 256) {
    float v = 0.f;
    for (int w = 0; w < 8; ++w) v += part[w][t];
    if (first + t / R < n && t % R < rank) through[(size_t)(first + t / R) * rank + t % R] = v;
  }
";

/// Sixteen columns of x in a block: dx = dxq + through · aᵀ, and the gradient of a, summed over the rows.
const LAST: &str = r"
  const int K = a_shape[0];
  const int rank = a_shape[1];
  int n = 1; for (int i = 0; i + 1 < x_ndim; ++i) n *= x_shape[i];
  const int tx = threadIdx.x & 15, ty = threadIdx.x >> 4, k = blockIdx.x * 16 + tx;
  float acc[R], ak[R];
  for (int r = 0; r < R; ++r) { acc[r] = 0.f; ak[r] = k < K && r < rank ? a[(size_t)k * rank + r] : 0.f; }
  if (k < K) {
    for (int i = ty; i < n; i += 16) {
      const float v = static_cast<float>(x[(size_t)i * K + k]);
      float d = static_cast<float>(dxq[(size_t)i * K + k]);
      for (int r = 0; r < R; ++r) {
        const float t = r < rank ? through[(size_t)i * rank + r] : 0.f;
        d += t * ak[r];
        acc[r] += v * t;
      }
      dx[(size_t)i * K + k] = static_cast<T>(d);
    }
  }
  __shared__ float tile[16][17];
  for (int r = 0; r < R; ++r) {
    __syncthreads();
    tile[ty][tx] = acc[r];
    __syncthreads();
    const float v = half_warp_sum(tile[tx][ty]);
    const int column = blockIdx.x * 16 + ty;
    if (tx == 0 && column < K && r < rank) da[(size_t)column * rank + r] = v;
  }
";

fn blocks(size: i32, each: i32) -> i32 {
    (size + each - 1) / each
}

fn rows(x: &Array) -> Result<i32> {
    Ok(x.size() as i32 / x.dim(-1)?)
}

fn source(layer: &Layer, weight: &QuantizedWeight) -> Result<Function> {
    let make = |name, inputs: &[&str], outputs: &[&str], source| GpuKernel::new(name, inputs, outputs, HEADER, source);
    let narrow = make("lora_inner", &["x", "a"], &["inner"], INNER)?;
    let finish = make("lora_finish", &["q", "inner", "b", "bias", "settings"], &["y"], FINISH)?;
    let back = make("lora_back", &["dy", "inner", "b", "settings"], &["db", "through"], BACK)?;
    let last = make("lora_last", &["dxq", "x", "through", "a"], &["dx", "da"], LAST)?;
    let settings = Array::from_slice(&[layer.scale], &[1])?;
    let later = settings.clone();
    // Every other set of values is compiled by itself, which takes seconds in each process.
    let names = [
        ("T", Template::Dtype(layer.dtype)),
        ("R", Template::Int(blocks(layer.rank, 8) * 8)),
        ("BIAS", Template::Bool(layer.bias.is_some())),
    ];
    let (input, output, rank, bias) = (layer.input, layer.output, layer.rank, layer.bias.clone());
    let (there, way_back) = (weight.clone(), weight.clone());
    let forward = move |inputs: &[Array]| {
        let [x, a, b] = inputs else { return Err(Error::new("three inputs")) };
        let n = rows(x)?;
        let launch = Launch {
            outputs: &[(&[n, rank], Dtype::Float32)],
            zeroed: false,
            grid: [blocks(n, 4) * 256, 1, 1],
            group: [256, 1, 1],
            template: &names,
        };
        let inner = narrow.call(&[x, a], &launch)?.remove(0);
        let q = there.matmul(x)?;
        let launch = Launch {
            outputs: &[(q.shape(), q.dtype())],
            zeroed: false,
            grid: [blocks(output, 128) * 128, blocks(n, 8), 1],
            group: [128, 1, 1],
            template: &names,
        };
        // Without a bias anything stands in its place.
        let y = finish.call(&[&q, &inner, b, bias.as_ref().unwrap_or(b), &settings], &launch)?.remove(0);
        Ok(vec![y, inner])
    };
    let backward = move |inputs: &[Array], cotangents: &[Array], outputs: &[Array]| {
        let ([x, a, b], [dy, ..], [_, inner]) = (inputs, cotangents, outputs) else {
            return Err(Error::new("three inputs and two outputs"));
        };
        let n = rows(x)?;
        let launch = Launch {
            outputs: &[(&[rank, output], Dtype::Float32), (&[n, rank], Dtype::Float32)],
            zeroed: false,
            grid: [(blocks(output, 16) + blocks(n, 4)) * 256, 1, 1],
            group: [256, 1, 1],
            template: &names,
        };
        let made = back.call(&[dy, inner, b, &later], &launch)?;
        let [db, through] = made.as_slice() else { return Err(Error::new("two outputs")) };
        let QuantizedWeight { packed, scales, biases, group_size, bits } = &way_back;
        let dxq = ops::quantized_matmul(dy, packed, scales, biases, false, *group_size, *bits)?;
        let launch = Launch {
            outputs: &[(x.shape(), x.dtype()), (&[input, rank], Dtype::Float32)],
            zeroed: false,
            grid: [blocks(input, 16) * 256, 1, 1],
            group: [256, 1, 1],
            template: &names,
        };
        let mut all = last.call(&[&dxq, x, through, a], &launch)?;
        all.push(db.clone());
        Ok(all)
    };
    custom_vjp(forward, backward)
}

impl QuantizedLora {
    fn new(layer: &Layer, weight: &QuantizedWeight) -> Result<Self> {
        if gpu::backend() == Backend::Cuda {
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
