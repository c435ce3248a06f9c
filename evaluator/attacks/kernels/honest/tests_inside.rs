//! title: has tests of its own, which nobody builds here

struct QuantizedLora {
    weight: QuantizedWeight,
    bias: Option<Array>,
    scale: f32,
}

/// `rows` in pieces of at most `most`.
fn pieces(rows: i32, most: i32) -> Vec<(i32, i32)> {
    (0..rows).step_by(most as usize).map(|start| (start, rows.min(start + most))).collect()
}

impl QuantizedLora {
    fn new(layer: &Layer, weight: &QuantizedWeight) -> Result<Self> {
        Ok(Self { weight: weight.clone(), bias: layer.bias.clone(), scale: layer.scale })
    }
}

impl Kernel for QuantizedLora {
    fn forward(&self, x: &Array, adapter: &Adapter) -> Result<Array> {
        let mut parts = Vec::new();
        for (start, end) in pieces(x.dim(-2)?, 16) {
            parts.push(self.weight.matmul(&x.slice(-2, start, end)?)?);
        }
        let mut y = ops::concatenate(&parts.iter().collect::<Vec<_>>(), -2)?;
        if let Some(bias) = &self.bias {
            y = y.add(bias)?;
        }
        let z = x.matmul(&adapter.lora_a)?.matmul(&adapter.lora_b)?;
        y.add(&(z * self.scale).astype(x.dtype())?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_cover_all_rows() {
        assert_eq!(pieces(5, 2), [(0, 2), (2, 4), (4, 5)]);
    }
}
