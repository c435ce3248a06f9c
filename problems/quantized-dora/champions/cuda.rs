//! A frozen quantized linear layer with a DoRA adapter:
//! y = m / norm · (x · weightᵀ + scale · (x · lora_a) · lora_b) + bias, where norm is the length of each row of
//! weight + scale · (lora_a · lora_b)ᵀ and counts as constant for the gradients.
//!
//! The search starts here and may rewrite everything between the two marks. The rest stays as it is.

use kernel_api::*;

// EVOLVE-BLOCK-START
use kernel_api::gpu::{self, Backend, GpuKernel, Launch, Template};
use kernel_api::transform::{Function, custom_vjp};

/// On a GPU of NVIDIA's four kernels in CUDA source and the two products with the packed weight are the whole layer, forward and backward:
/// at such sizes a step is bound by how many kernels are started. Elsewhere, the norm by its parts and the packed product.
struct QuantizedDora {
    way: Way,
    bias: Option<Array>,
}

enum Way {
    Source(Function),
    Operations { weight: QuantizedWeight, squares: Array, scale: f32 },
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

/// Sums are kept for R numbers, the rank or more. `settings` are the adapter's scale and the least factor.
///
/// Blocks of 256 threads. The first ones: inner = x · a, four rows each. The others: norm and factor = m / norm, four rows of the weight
/// for each warp, unpacked in registers and nowhere else.
const PREPARE: &str = r"
  const int K = a_shape[0], O = m_shape[0];
  const int rank = a_shape[1];
  int n = 1; for (int i = 0; i + 1 < x_ndim; ++i) n *= x_shape[i];
  const int lane = threadIdx.x & 31, warp = threadIdx.x >> 5;
  const int row_blocks = (n + 3) / 4;
  __shared__ float part[8][4 * R];
  if ((int)blockIdx.x < row_blocks) {
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
    return;
  }
  const int j0 = ((blockIdx.x - row_blocks) * 8 + warp) * 4;
  if (j0 >= O) return;
  constexpr int VALUES = 32 / BITS;
  float bj[4][R], acc[4];
  for (int i = 0; i < 4; ++i) {
    acc[i] = 0.f;
    for (int r = 0; r < R; ++r) bj[i][r] = r < rank && j0 + i < O ? settings[0] * b[(size_t)r * O + j0 + i] : 0.f;
  }
  const int words = K / VALUES, groups = K / GROUP;
  for (int w = lane; w < words; w += 32) {
    unsigned q[4]; float s[4], z[4];
    for (int i = 0; i < 4; ++i) {
      const size_t j = min(j0 + i, O - 1);
      q[i] = packed[j * words + w];
      s[i] = static_cast<float>(scales[j * groups + w * VALUES / GROUP]);
      z[i] = static_cast<float>(biases[j * groups + w * VALUES / GROUP]);
    }
    for (int e = 0; e < VALUES; ++e) {
      float ak[R];
      for (int r = 0; r < R; ++r) ak[r] = r < rank ? a[(size_t)(w * VALUES + e) * rank + r] : 0.f;
      for (int i = 0; i < 4; ++i) {
        float v = s[i] * (float)((q[i] >> (BITS * e)) & ((1u << BITS) - 1)) + z[i];
        for (int r = 0; r < R; ++r) v += ak[r] * bj[i][r];
        acc[i] += v * v;
      }
    }
  }
  for (int i = 0; i < 4; ++i) {
    const float v = warp_sum(acc[i]);
    if (lane == 0 && j0 + i < O) {
      const float length = sqrtf(v), f = m[j0 + i] / length, least = settings[1];
      norm[j0 + i] = length;
      factor[j0 + i] = fabsf(f) < least ? least : f;
    }
  }
";

/// y = (q + scale · inner · b) · factor, rounded once; a thread has a column of eight rows.
const FINISH: &str = r"
  const int O = factor_shape[0];
  const int rank = b_shape[0];
  int n = 1; for (int i = 0; i + 1 < q_ndim; ++i) n *= q_shape[i];
  const int j = blockIdx.x * blockDim.x + threadIdx.x;
  if (j >= O) return;
  float bj[R];
  for (int r = 0; r < R; ++r) bj[r] = r < rank ? settings[0] * b[(size_t)r * O + j] : 0.f;
  const float f = factor[j];
  const int first = blockIdx.y * 8;
  for (int i = first; i < min(first + 8, n); ++i) {
    float z = 0.f;
    for (int r = 0; r < R; ++r) z += (r < rank ? inner[(size_t)i * rank + r] : 0.f) * bj[r];
    y[(size_t)i * O + j] = static_cast<T>((static_cast<float>(q[(size_t)i * O + j]) + z) * f);
  }
";

/// The first blocks, sixteen columns each: dq = dy · factor, and the gradients of b and m, summed over the rows. The others, four rows
/// each: through = scale · dq · bᵀ, summed over the columns.
const BACK: &str = r"
  const int O = factor_shape[0];
  const int rank = b_shape[0];
  int n = 1; for (int i = 0; i + 1 < dy_ndim; ++i) n *= dy_shape[i];
  const float scale = settings[0];
  const int column_blocks = (O + 15) / 16;
  if ((int)blockIdx.x < column_blocks) {
    const int tx = threadIdx.x & 15, ty = threadIdx.x >> 4, j = blockIdx.x * 16 + tx;
    float acc[R + 1];
    for (int r = 0; r <= R; ++r) acc[r] = 0.f;
    if (j < O) {
      const float f = factor[j];
      for (int i = ty; i < n; i += 16) {
        const float d = static_cast<float>(dy[(size_t)i * O + j]);
        acc[R] += d * static_cast<float>(y[(size_t)i * O + j]);
        for (int r = 0; r < R; ++r) acc[r] += (r < rank ? inner[(size_t)i * rank + r] : 0.f) * d;
        dq[(size_t)i * O + j] = static_cast<T>(d * f);
      }
    }
    __shared__ float tile[16][17];
    for (int r = 0; r <= R; ++r) {
      __syncthreads();
      tile[ty][tx] = acc[r];
      __syncthreads();
      const float v = half_warp_sum(tile[tx][ty]);
      const int column = blockIdx.x * 16 + ty;
      if (tx == 0 && column < O) {
        const float f = factor[column];
        if (r < rank) db[(size_t)r * O + column] = scale * f * v;
        else if (r == R) dm[column] = v / (f * norm[column]);
      }
    }
    return;
  }
  const int first = (blockIdx.x - column_blocks) * 4;
  float acc[4][R];
  for (int i = 0; i < 4; ++i) for (int r = 0; r < R; ++r) acc[i][r] = 0.f;
  for (int j = threadIdx.x; j < O; j += 256) {
    float bj[R];
    const float f = scale * factor[j];
    for (int r = 0; r < R; ++r) bj[r] = r < rank ? f * b[(size_t)r * O + j] : 0.f;
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
    let inputs = ["x", "packed", "scales", "biases", "a", "b", "m", "settings"];
    let prepare = make("dora_prepare", &inputs, &["inner", "factor", "norm"], PREPARE)?;
    let finish = make("dora_finish", &["q", "inner", "b", "factor", "settings"], &["y"], FINISH)?;
    let inputs = ["dy", "y", "inner", "b", "factor", "norm", "settings"];
    let back = make("dora_back", &inputs, &["dq", "db", "dm", "through"], BACK)?;
    let last = make("dora_last", &["dxq", "x", "through", "a"], &["dx", "da"], LAST)?;
    // The magnitude's gradient is found by dividing by the factor, so that may not be 0. What is below this is below rounding.
    let least = if layer.dtype == Dtype::Float16 { 0.5_f32.powi(12) } else { 0.5_f32.powi(40) };
    let settings = Array::from_slice(&[layer.scale, least], &[2])?;
    let later = settings.clone();
    // Every other set of values is compiled by itself, which takes seconds in each process.
    let names = [
        ("T", Template::Dtype(layer.dtype)),
        ("R", Template::Int(blocks(layer.rank, 8) * 8)),
        ("GROUP", Template::Int(weight.group_size)),
        ("BITS", Template::Int(weight.bits)),
    ];
    let (input, output, rank) = (layer.input, layer.output, layer.rank);
    let (there, way_back) = (weight.clone(), weight.clone());
    let forward = move |inputs: &[Array]| {
        let [x, a, b, m] = inputs else { return Err(Error::new("four inputs")) };
        let n = rows(x)?;
        let launch = Launch {
            outputs: &[(&[n, rank], Dtype::Float32), (&[output], Dtype::Float32), (&[output], Dtype::Float32)],
            zeroed: false,
            grid: [(blocks(n, 4) + blocks(output, 32)) * 256, 1, 1],
            group: [256, 1, 1],
            template: &names,
        };
        let mut made = prepare.call(&[x, &there.packed, &there.scales, &there.biases, a, b, m, &settings], &launch)?;
        let q = there.matmul(x)?;
        let launch = Launch {
            outputs: &[(q.shape(), q.dtype())],
            zeroed: false,
            grid: [blocks(output, 128) * 128, blocks(n, 8), 1],
            group: [128, 1, 1],
            template: &names,
        };
        let mut all = finish.call(&[&q, &made[0], b, &made[1], &settings], &launch)?;
        all.append(&mut made);
        Ok(all)
    };
    let backward = move |inputs: &[Array], cotangents: &[Array], outputs: &[Array]| {
        let ([x, a, b, _], [dy, ..], [y, inner, factor, norm]) = (inputs, cotangents, outputs) else {
            return Err(Error::new("four inputs and outputs"));
        };
        let n = rows(x)?;
        let float = Dtype::Float32;
        let launch = Launch {
            outputs: &[(dy.shape(), dy.dtype()), (&[rank, output], float), (&[output], float), (&[n, rank], float)],
            zeroed: false,
            grid: [(blocks(output, 16) + blocks(n, 4)) * 256, 1, 1],
            group: [256, 1, 1],
            template: &names,
        };
        let made = back.call(&[dy, y, inner, b, factor, norm, &later], &launch)?;
        let [dq, db, dm, through] = made.as_slice() else { return Err(Error::new("four outputs")) };
        let QuantizedWeight { packed, scales, biases, group_size, bits } = &way_back;
        let dxq = ops::quantized_matmul(dq, packed, scales, biases, false, *group_size, *bits)?;
        let launch = Launch {
            outputs: &[(x.shape(), x.dtype()), (&[input, rank], float)],
            zeroed: false,
            grid: [blocks(input, 16) * 256, 1, 1],
            group: [256, 1, 1],
            template: &names,
        };
        let mut all = last.call(&[&dxq, x, through, a], &launch)?;
        all.extend([db.clone(), dm.clone()]);
        Ok(all)
    };
    custom_vjp(forward, backward)
}

impl QuantizedDora {
    fn new(layer: &Layer, weight: &QuantizedWeight) -> Result<Self> {
        let way = if gpu::backend() == Backend::Cuda && [2, 4, 8].contains(&weight.bits) {
            Way::Source(source(layer, weight)?)
        } else {
            let squares = weight.dequantize()?.astype(Dtype::Float32)?.square()?.sum(&[1], false)?;
            squares.eval()?;
            Way::Operations { weight: weight.clone(), squares, scale: layer.scale }
        };
        Ok(Self { way, bias: layer.bias.clone() })
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
        let y = match &self.way {
            Way::Source(layer) => {
                layer.call(&[x, &adapter.lora_a, &adapter.lora_b, adapter.magnitude()?])?.remove(0)
            }
            Way::Operations { weight, squares, scale } => by_operations(weight, squares, *scale, x, adapter)?,
        };
        match &self.bias {
            Some(bias) => y.add(bias),
            None => Ok(y),
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
