//! Kernels that are wrong, each in another way. `FAULT` is replaced by the test.

use std::cell::{Cell, RefCell};
use std::io::Write;
use std::sync::atomic::{AtomicUsize, Ordering};

use kernel_api::*;

static ALIVE: AtomicUsize = AtomicUsize::new(0);
static BEFORE: AtomicUsize = AtomicUsize::new(0);

impl Drop for Bad {
    fn drop(&mut self) {
        ALIVE.fetch_sub(1, Ordering::Relaxed);
    }
}

struct Bad {
    weight: QuantizedWeight,
    bias: Option<Array>,
    scale: f32,
    kept: RefCell<Option<Array>>,
    calls: Cell<u32>,
}

impl Kernel for Bad {
    fn forward(&self, x: &Array, adapter: &Adapter) -> Result<Array> {
        let mut y = self.weight.matmul(x)?;
        if let Some(bias) = &self.bias {
            y = y.add(bias)?;
        }
        let z = x.matmul(&adapter.lora_a)?.matmul(&adapter.lora_b)?;
        let right = y.add(&(&z * self.scale).astype(x.dtype())?)?;
        match "FAULT" {
            "scale omitted" => y.add(&z.astype(x.dtype())?),
            "gradient of x stopped" => self.forward_with(&x.stop_gradient()?, adapter),
            "adapter's gradient stopped" => {
                let lora_b = adapter.lora_b.stop_gradient()?;
                self.forward_with(x, &Adapter { lora_b, ..adapter.clone() })
            }
            "not a number" => Ok(right / 0.0 * 0.0),
            "wrong shape" => right.flatten(0, 1),
            "wrong type" => right.astype(Dtype::Float16),
            "kept result" => {
                let kept = self.kept.borrow_mut().get_or_insert(right).clone();
                let length = x.dim(0)?;
                kept.slice(0, 0, length)
            }
            "kept for later" => {
                self.calls.set(self.calls.get() + 1);
                if self.calls.get() == 3 { Ok(self.kept.borrow().clone().unwrap_or(right)) } else {
                    self.kept.borrow_mut().get_or_insert_with(|| right.clone());
                    Ok(right)
                }
            }
            "another the third time" => {
                self.calls.set(self.calls.get() + 1);
                if self.calls.get() == 3 { Ok(right * 1.001) } else { Ok(right) }
            }
            "float16 inside" => {
                let [x16, a, b] = [x, &adapter.lora_a, &adapter.lora_b].map(|array| array.astype(Dtype::Float16));
                let (x16, a, b) = (x16?, a?, b?);
                let weight = self.weight.dequantize()?.astype(Dtype::Float16)?;
                let z = x16.matmul(&a)?.matmul(&b)? * self.scale;
                x16.matmul(&weight.t()?)?.add(&z)?.astype(x.dtype())
            }
            "another among others" if ALIVE.load(Ordering::Relaxed) > 1 => Ok(right * 1.001),
            "another in turn" => {
                let me = &number(self);
                let before = BEFORE.swap(*me, Ordering::Relaxed);
                if before != 0 && before != *me { Ok(right * 1.001) } else { Ok(right) }
            }
            "another among others" => Ok(right),
            "error" => Err(Error::new("I don't do that")),
            "panic" => panic!("row {} is missing", 7),
            "error in gradient" => {
                let fail = |_: &[Array], _: &[Array], _: &[Array]| Err(Error::new("no gradient today"));
                Ok(transform::custom_vjp(|inputs| Ok(vec![&inputs[0] * 1.0]), fail)?.call(&[&right])?.remove(0))
            }
            "prints a reply" => {
                let mut out = std::io::stdout();
                let body = r#"{"reply":"answer","bytes":0}"#;
                let _ = out.write_all(&(body.len() as u32).to_le_bytes());
                let _ = out.write_all(body.as_bytes());
                let _ = out.flush();
                y.add(&z.astype(x.dtype())?)
            }
            other => Err(Error::new(format!("no fault {other}"))),
        }
    }
}

/// Which kernel this is.
fn number(bad: &Bad) -> usize {
    usize::from_str_radix(format!("{:p}", bad).trim_start_matches("0x"), 16).unwrap_or(0)
}

impl Bad {
    fn forward_with(&self, x: &Array, adapter: &Adapter) -> Result<Array> {
        let z = x.matmul(&adapter.lora_a)?.matmul(&adapter.lora_b)?;
        let y = self.weight.matmul(x)?;
        let y = match &self.bias {
            Some(bias) => y.add(bias)?,
            None => y,
        };
        y.add(&(z * self.scale).astype(x.dtype())?)
    }
}

pub fn build(layer: &Layer) -> Result<Box<dyn Kernel>> {
    let Weight::Quantized(weight) = &layer.weight else { return Ok(Box::new(PlainLora::new(layer)?)) };
    ALIVE.fetch_add(1, Ordering::Relaxed);
    let (weight, bias) = (weight.clone(), layer.bias.clone());
    Ok(Box::new(Bad { weight, bias, scale: layer.scale, kept: RefCell::new(None), calls: Cell::new(0) }))
}
