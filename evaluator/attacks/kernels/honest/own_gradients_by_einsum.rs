//! title: gradients of its own, by einsum

struct QuantizedLora {
    weight: QuantizedWeight,
    bias: Option<Array>,
    scale: f32,
    #[allow(dead_code)]
    name: &'static str,
    layer: transform::Function,
}

impl QuantizedLora {
    fn new(layer: &Layer, weight: &QuantizedWeight) -> Result<Self> {
        let (bias, scale) = (layer.bias.clone(), layer.scale);
        let (kept, kept_bias) = (weight.clone(), bias.clone());
        let whole = weight.dequantize()?;
        let layer = transform::custom_vjp(
            move |inputs| {
                let [x, a, b] = inputs else { return Err(Error::new("three inputs")) };
                let y = kept.matmul(x)?;
                let y = match &kept_bias {
                    Some(bias) => y.add(bias)?,
                    None => y,
                };
                Ok(vec![y.add(&(x.matmul(a)?.matmul(b)? * scale).astype(x.dtype())?)?])
            },
            move |inputs, cotangents, _outputs| {
                let (x, a, b) = (inputs[0].astype(Dtype::Float32)?, &inputs[1], &inputs[2]);
                let g = cotangents[0].astype(Dtype::Float32)?;
                let scaled = &g * scale;
                let of_x = ops::einsum("blo,oi->bli", &[&g, &whole.astype(Dtype::Float32)?])?;
                let through = ops::einsum("blo,ro,ir->bli", &[&scaled, b, a])?;
                let of_a = ops::einsum("bli,blo,ro->ir", &[&x, &scaled, b])?;
                let of_b = ops::einsum("bli,ir,blo->ro", &[&x, a, &scaled])?;
                Ok(vec![of_x.add(&through)?.astype(inputs[0].dtype())?, of_a, of_b])
            },
        )?;
        Ok(Self { weight: weight.clone(), bias, scale, name: "own gradients", layer })
    }
}

impl Kernel for QuantizedLora {
    fn forward(&self, x: &Array, adapter: &Adapter) -> Result<Array> {
        let mut results = self.layer.call(&[x, &adapter.lora_a, &adapter.lora_b])?;
        results.pop().ok_or_else(|| Error::new("no result"))
    }
}
