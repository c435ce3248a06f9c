//! title: identifiers named host, env, path, process, net, time

struct QuantizedLora {
    host: QuantizedWeight,
    env: Option<Array>,
    time: f32,
}

impl QuantizedLora {
    fn new(process: &Layer, net: &QuantizedWeight) -> Result<Self> {
        let (host, env, time) = (net.clone(), process.bias.clone(), process.scale);
        Ok(Self { host, env, time })
    }

    fn path(&self, fs: &Array, io: &Adapter) -> Result<Array> {
        let thread = fs.matmul(&io.lora_a)?;
        Ok(thread.matmul(&io.lora_b)? * self.time)
    }
}

impl Kernel for QuantizedLora {
    fn forward(&self, x: &Array, adapter: &Adapter) -> Result<Array> {
        let exit = self.path(x, adapter)?.astype(x.dtype())?;
        let ptr = self.host.matmul(x)?;
        match &self.env {
            Some(link) => ptr.add(link)?.add(&exit),
            None => ptr.add(&exit),
        }
    }
}
