//! Lets MLX's own layers compute once, so that its backend compiles what it compiles at the first call. No plugin is in this process.

use grader::challenge::{Material, describe, gradients};
use kernel_api::host::Together;
use kernel_api::{Kernel, MlxLmLora};
use mlx_rs::transforms::eval;
use trainer::Trainer;
use trainer::data::Dataset;
use trial_protocol::{AdapterKind, Challenge, CheckCase, Reply, WarmRequest};

use crate::{Stop, setup};

pub(crate) fn run(request: &WarmRequest) -> Result<Reply, Stop> {
    for case in &request.cases {
        layer(case).map_err(|error| setup(format!("{}: {}", describe(case), error.what())))?;
    }
    if let Some((model, training)) = &request.training {
        train(model, training).map_err(setup)?;
    }
    Ok(Reply::Ready)
}

/// The packed product with its gradients.
fn layer(case: &CheckCase) -> mlx_rs::error::Result<()> {
    let case = CheckCase { adapter: AdapterKind::Lora, siblings: Vec::new(), ..case.clone() };
    let material = Material::new(&Challenge::plain(case, 0))?;
    let inputs = material.arrays(&material.first);
    let kernels =
        material.layers.iter().map(|layer| Box::new(MlxLmLora::new(layer)) as Box<dyn Kernel>).collect();
    let kernels = Together::Each(kernels);
    let (results, gradients) = gradients(&kernels, &inputs, &material.layers, &material.cotangents())?;
    eval(results.iter().chain(&gradients))
}

fn train(model: &trial_protocol::Model, training: &trial_protocol::Training) -> trainer::Result<()> {
    let data = Dataset::read_training(&training.data)?;
    let mut trainer = Trainer::load(model, training, &data, None)?;
    trainer.warm_up(0)
}
