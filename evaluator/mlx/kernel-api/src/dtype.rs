//! Element types.

/// The type of an array's elements.
///
/// Operands of different types are promoted: half precision with `Float32` gives `Float32`, `Float16` with `Bfloat16`
/// gives `Float32`, integers with floats give the float.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Dtype {
    Bool,
    Uint8,
    Uint16,
    Uint32,
    Uint64,
    Int8,
    Int16,
    Int32,
    Int64,
    Float16,
    Float32,
    Float64,
    Bfloat16,
    Complex64,
}

impl Dtype {
    /// Whether it is a real floating-point type.
    pub fn is_float(self) -> bool {
        matches!(self, Self::Float16 | Self::Float32 | Self::Float64 | Self::Bfloat16)
    }
}

impl Dtype {
    /// Bytes of an element.
    pub(crate) fn bytes(self) -> u64 {
        match self {
            Self::Bool | Self::Uint8 | Self::Int8 => 1,
            Self::Uint16 | Self::Int16 | Self::Float16 | Self::Bfloat16 => 2,
            Self::Uint32 | Self::Int32 | Self::Float32 => 4,
            Self::Uint64 | Self::Int64 | Self::Float64 | Self::Complex64 => 8,
        }
    }
}

macro_rules! same_names {
    ($($name:ident),*) => {
        impl From<mlx_rs::Dtype> for Dtype {
            fn from(dtype: mlx_rs::Dtype) -> Self {
                match dtype { $(mlx_rs::Dtype::$name => Self::$name),* }
            }
        }

        impl From<Dtype> for mlx_rs::Dtype {
            fn from(dtype: Dtype) -> Self {
                match dtype { $(Dtype::$name => Self::$name),* }
            }
        }
    };
}

same_names!(
    Bool, Uint8, Uint16, Uint32, Uint64, Int8, Int16, Int32, Int64, Float16, Float32, Float64, Bfloat16,
    Complex64
);
