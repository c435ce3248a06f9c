//! title: comments in other scripts, with quotes, brackets and marks of other languages

struct QuantizedLora {
    weight: QuantizedWeight,
    bias: Option<Array>,
    scale: f32,
}

impl QuantizedLora {
    fn new(layer: &Layer, weight: &QuantizedWeight) -> Result<Self> {
        let (bias, scale) = (layer.bias.clone(), layer.scale);
        Ok(Self { weight: weight.clone(), bias, scale })
    }
}

impl Kernel for QuantizedLora {
    fn forward(&self, x: &Array, adapter: &Adapter) -> Result<Array> {
        // Übung macht den Meister: y = x·Wᵀ + b + s·(x·A)·B — «schnell», „leise“ 🙂 日本語 عربي
        /* unsafe { std::fs::read("/etc/passwd") } /* nested: extern "C" */ include_str!("x") */
        let text = r#"macro_rules! x { () => { asm!("") } } // "quoted" #![no_main]"#;
        let letter = '\u{1F600}';
        let byte = b'{';
        assert!(text.len() > 3 && letter.len_utf8() == 4 && byte == b'{');
        let y = self.weight.matmul(x)?; // }}}
        let y = match &self.bias {
            Some(bias) => y.add(bias)?,
            None => y,
        };
        let z = x.matmul(&adapter.lora_a)?.matmul(&adapter.lora_b)? * self.scale;
        y.add(&z.astype(x.dtype())?)
    }
}
