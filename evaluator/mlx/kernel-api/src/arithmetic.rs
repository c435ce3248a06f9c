//! Elementwise arithmetic and matrix products.

use std::ops::{Add, Div, Mul, Neg, Sub};

use mlx_rs::ops as mlx;

use crate::{Array, Dtype, Result};

impl Array {
    /// Matrix product over the last two axes; the others broadcast. `[..., n, k] · [..., k, m] → [..., n, m]`.
    /// Errors if the inner lengths differ or the types aren't floats.
    pub fn matmul(&self, other: &Self) -> Result<Self> {
        Ok(Self { inner: self.inner.matmul(&other.inner)? })
    }

    /// `self + other`. Like all elementwise operations of two arrays it broadcasts and promotes, and errors if shapes can't.
    pub fn add(&self, other: &Self) -> Result<Self> {
        Ok(Self { inner: mlx::add(&self.inner, &other.inner)? })
    }

    /// `self - other`.
    pub fn subtract(&self, other: &Self) -> Result<Self> {
        Ok(Self { inner: self.inner.subtract(&other.inner)? })
    }

    /// `self * other`, elementwise.
    pub fn multiply(&self, other: &Self) -> Result<Self> {
        Ok(Self { inner: self.inner.multiply(&other.inner)? })
    }

    /// `self / other`; integers give `Float32`.
    pub fn divide(&self, other: &Self) -> Result<Self> {
        Ok(Self { inner: self.inner.divide(&other.inner)? })
    }

    /// The quotient rounded down.
    pub fn floor_divide(&self, other: &Self) -> Result<Self> {
        Ok(Self { inner: self.inner.floor_divide(&other.inner)? })
    }

    /// The remainder, with the divisor's sign.
    pub fn remainder(&self, other: &Self) -> Result<Self> {
        Ok(Self { inner: self.inner.remainder(&other.inner)? })
    }

    /// `self` to the power of `other`.
    pub fn power(&self, other: &Self) -> Result<Self> {
        Ok(Self { inner: self.inner.power(&other.inner)? })
    }

    /// The larger of two elements.
    pub fn maximum(&self, other: &Self) -> Result<Self> {
        Ok(Self { inner: mlx::maximum(&self.inner, &other.inner)? })
    }

    /// The smaller of two elements.
    pub fn minimum(&self, other: &Self) -> Result<Self> {
        Ok(Self { inner: mlx::minimum(&self.inner, &other.inner)? })
    }

    /// `self < other` as `Bool`.
    pub fn less(&self, other: &Self) -> Result<Self> {
        Ok(Self { inner: self.inner.lt(&other.inner)? })
    }

    /// `self > other` as `Bool`.
    pub fn greater(&self, other: &Self) -> Result<Self> {
        Ok(Self { inner: self.inner.gt(&other.inner)? })
    }

    /// `self == other` as `Bool`.
    pub fn equal(&self, other: &Self) -> Result<Self> {
        Ok(Self { inner: self.inner.eq(&other.inner)? })
    }

    /// `-self`.
    pub fn negative(&self) -> Result<Self> {
        Ok(Self { inner: self.inner.negative()? })
    }

    /// `|self|`.
    pub fn abs(&self) -> Result<Self> {
        Ok(Self { inner: self.inner.abs()? })
    }

    /// `self * self`.
    pub fn square(&self) -> Result<Self> {
        Ok(Self { inner: self.inner.square()? })
    }

    /// The square root.
    pub fn sqrt(&self) -> Result<Self> {
        Ok(Self { inner: self.inner.sqrt()? })
    }

    /// `1 / √self`.
    pub fn rsqrt(&self) -> Result<Self> {
        Ok(Self { inner: self.inner.rsqrt()? })
    }

    /// `1 / self`.
    pub fn reciprocal(&self) -> Result<Self> {
        Ok(Self { inner: self.inner.reciprocal()? })
    }

    /// `e` to the power of `self`.
    pub fn exp(&self) -> Result<Self> {
        Ok(Self { inner: self.inner.exp()? })
    }

    /// The natural logarithm.
    pub fn log(&self) -> Result<Self> {
        Ok(Self { inner: self.inner.log()? })
    }

    /// The hyperbolic tangent.
    pub fn tanh(&self) -> Result<Self> {
        Ok(Self { inner: mlx::tanh(&self.inner)? })
    }

    /// `1 / (1 + e^-self)`.
    pub fn sigmoid(&self) -> Result<Self> {
        Ok(Self { inner: mlx::sigmoid(&self.inner)? })
    }

    /// A number of the type that it has beside this array.
    fn beside(&self, value: f32) -> Result<Self> {
        let dtype = self.dtype();
        Self::scalar(value, if dtype.is_float() { dtype } else { Dtype::Float32 })
    }
}

macro_rules! operator {
    ($trait:ident, $function:ident, $method:ident) => {
        operator!(@ $trait, $function, $method, Array, Array);
        operator!(@ $trait, $function, $method, Array, &Array);
        operator!(@ $trait, $function, $method, &Array, Array);
        operator!(@ $trait, $function, $method, &Array, &Array);
        operator!(@number $trait, $function, $method, Array);
        operator!(@number $trait, $function, $method, &Array);
    };
    (@ $trait:ident, $function:ident, $method:ident, $left:ty, $right:ty) => {
        impl $trait<$right> for $left {
            type Output = Array;

            #[track_caller]
            fn $function(self, other: $right) -> Array {
                expect(Array::$method(&self, &other))
            }
        }
    };
    (@number $trait:ident, $function:ident, $method:ident, $array:ty) => {
        impl $trait<f32> for $array {
            type Output = Array;

            #[track_caller]
            fn $function(self, number: f32) -> Array {
                expect(self.beside(number).and_then(|number| Array::$method(&self, &number)))
            }
        }

        impl $trait<$array> for f32 {
            type Output = Array;

            #[track_caller]
            fn $function(self, array: $array) -> Array {
                expect(array.beside(self).and_then(|number| Array::$method(&number, &array)))
            }
        }
    };
}

operator!(Add, add, add);
operator!(Sub, sub, subtract);
operator!(Mul, mul, multiply);
operator!(Div, div, divide);

impl Neg for Array {
    type Output = Self;

    #[track_caller]
    fn neg(self) -> Self {
        expect(self.negative())
    }
}

impl Neg for &Array {
    type Output = Array;

    #[track_caller]
    fn neg(self) -> Array {
        expect(self.negative())
    }
}

/// Operators have no way to return an error.
#[track_caller]
fn expect(result: Result<Array>) -> Array {
    match result {
        Ok(array) => array,
        Err(error) => panic!("{error}"),
    }
}
