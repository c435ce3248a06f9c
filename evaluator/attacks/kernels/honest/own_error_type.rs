//! title: an error type of its own, with `?` and From

use std::error;
use std::fmt::{self, Display, Formatter};

/// What can go wrong.
#[derive(Debug)]
#[non_exhaustive]
enum Problem {
    /// In MLX.
    Mlx(Error),
    /// x doesn't fit.
    Shape { expected: i32, found: i32 },
}

impl Display for Problem {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Mlx(error) => write!(f, "MLX: {error}"),
            Self::Shape { expected, found } => write!(f, "expected {expected} columns, found {found}"),
        }
    }
}

impl error::Error for Problem {}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        Self::Mlx(error)
    }
}

impl From<Problem> for Error {
    fn from(problem: Problem) -> Self {
        Error::new(problem.to_string())
    }
}

struct QuantizedLora {
    weight: QuantizedWeight,
    bias: Option<Array>,
    scale: f32,
    input: i32,
}

impl QuantizedLora {
    fn new(layer: &Layer, weight: &QuantizedWeight) -> Result<Self> {
        let Layer { bias, scale, input, .. } = layer;
        Ok(Self { weight: weight.clone(), bias: bias.clone(), scale: *scale, input: *input })
    }

    fn checked(&self, x: &Array, adapter: &Adapter) -> std::result::Result<Array, Problem> {
        let found = x.dim(-1)?;
        if found != self.input {
            return Err(Problem::Shape { expected: self.input, found });
        }
        let y = self.weight.matmul(x)?;
        let y = self.bias.as_ref().map_or_else(|| Ok(y.clone()), |bias| y.add(bias))?;
        let z = x.matmul(&adapter.lora_a)?.matmul(&adapter.lora_b)?;
        Ok(y.add(&(z * self.scale).astype(x.dtype())?)?)
    }
}

impl Kernel for QuantizedLora {
    fn forward(&self, x: &Array, adapter: &Adapter) -> Result<Array> {
        Ok(self.checked(x, adapter)?)
    }
}
