//! The grader as a process: what it says, and what it survives.
#![allow(clippy::unwrap_used, reason = "tests, also their helpers")]

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use trial_protocol::{
    AdapterKind, AnswerLayout, Challenge, CheckCase, Comparison, Dtype, GradeCheck, GradeReply, GradeRequest,
    GradeTrial, Model, Optimizer, PrepareRequest, Prepared, Quantization, SyntheticModel, Training,
    read_frame, read_raw, write_frame, write_raw,
};

struct Grader {
    child: Child,
    input: Option<ChildStdin>,
    output: ChildStdout,
}

impl Grader {
    fn start() -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_grader"))
            // It has no need of any program or folder.
            .env("PATH", "/nowhere")
            .env("TMPDIR", "/nowhere")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (input, output) = (child.stdin.take(), child.stdout.take().unwrap());
        Self { child, input, output }
    }

    fn ask(&mut self, request: &GradeRequest, raw: Option<&[u8]>) -> GradeReply {
        let input = self.input.as_mut().unwrap();
        write_frame(&mut *input, request).unwrap();
        if let Some(raw) = raw {
            write_raw(input, raw).unwrap();
        }
        read_frame(&mut self.output).unwrap().expect("a reply")
    }

    fn prepare(&mut self) -> (Prepared, String) {
        match self.ask(&GradeRequest::Prepare(prepare()), None) {
            GradeReply::Prepared(prepared) => {
                let lines = read_raw(&mut self.output, prepared.train_bytes).unwrap();
                (prepared, String::from_utf8(lines).unwrap())
            }
            other => panic!("{other:?}"),
        }
    }

    fn failure(&mut self, request: &GradeRequest, raw: Option<&[u8]>) -> String {
        match self.ask(request, raw) {
            GradeReply::Failed { message } => message,
            other => panic!("{other:?}"),
        }
    }
}

fn prepare() -> PrepareRequest {
    PrepareRequest {
        model: Model::Synthetic(SyntheticModel {
            seed: 0,
            hidden_size: 64,
            intermediate_size: 128,
            num_hidden_layers: 2,
            num_attention_heads: 2,
            num_key_value_heads: 1,
            quantization: Quantization { group_size: 32, bits: 4 },
            tie_word_embeddings: true,
            dtype: Dtype::Float32,
        }),
        training: Training {
            fine_tune_type: AdapterKind::Lora,
            num_layers: 1,
            rank: 4,
            scale: 10.0,
            learning_rate: 1e-4,
            optimizer: Optimizer::Adamw,
            batch_size: 2,
            sequence_length: 25,
            iterations: 2,
            warmup_iterations: 1,
            validation_batches: 1,
            compile: false,
            data: data(),
        },
        error_budget: 16.0,
    }
}

fn data() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../problems/quantized-lora/data/instructions.jsonl")
}

fn check(case: CheckCase) -> (GradeRequest, usize) {
    let bytes = AnswerLayout::of(&case).bytes();
    (GradeRequest::Check(GradeCheck { challenge: Challenge::plain(case, 3) }), bytes)
}

#[test]
fn what_is_prepared_is_all_that_a_trial_needs() {
    let (prepared, lines) = Grader::start().prepare();
    assert_eq!((prepared.slots.len(), prepared.quantized_layers), (7, 15));
    assert_eq!(prepared.slots[0].layer, "model.layers.1.mlp.up_proj");
    let widths = (64 + 64) + 2 * (64 + 32) + (64 + 64) + 2 * (64 + 128) + (128 + 64);
    assert_eq!(prepared.adapter_bytes, widths * 4 * 4);
    // q, k and v have biases and two widths; o is like q without one; gate and up are alike; down. And what shares x: gate and up; q, k
    // and v.
    assert_eq!(prepared.cases.len(), 5 + 2, "{:?}", prepared.cases);
    let outputs = |case: &CheckCase| case.layers().iter().map(|layer| layer.output).collect::<Vec<_>>();
    let groups: Vec<_> =
        prepared.cases.iter().filter(|case| !case.siblings.is_empty()).map(outputs).collect();
    assert_eq!(groups, [vec![128, 128], vec![64, 32, 32]]);
    assert!(prepared.cases.iter().all(|case| (case.batch, case.length, case.rank) == (2, 24, 4)));
    assert!(prepared.files.is_empty() && prepared.model == prepare().model);
    let all = std::fs::read_to_string(data()).unwrap();
    for (index, line) in all.lines().enumerate() {
        assert_eq!(lines.lines().any(|kept| kept == line), index % 8 != 7, "line {}", index + 1);
    }
}

#[test]
fn a_process_judges_many_answers_and_adapters() {
    let mut grader = Grader::start();
    let (prepared, _) = grader.prepare();
    for case in &prepared.cases {
        let (request, bytes) = check(case.clone());
        for fill in [0, 0xff] {
            let GradeReply::Checked { comparisons } = grader.ask(&request, Some(&vec![fill; bytes])) else {
                panic!()
            };
            assert!(
                comparisons.len() >= 9
                    && comparisons.iter().all(|comparison| !comparison.passed || fill == 0)
            );
            let is_forward = |comparison: &&Comparison| comparison.quantity.starts_with("forward");
            let forward = comparisons.iter().find(is_forward).unwrap();
            assert!(!forward.passed && forward.error.is_none() == (fill == 0xff), "{forward:?}");
        }
    }
    for (seed, fill) in [(1, 0), (2, 0xff), (1, 0x41)] {
        let request =
            GradeRequest::Trial(GradeTrial { seed, iterations: 2, fine_tune_type: AdapterKind::Lora });
        let adapters = vec![fill; prepared.adapter_bytes as usize];
        let GradeReply::Trial(grade) = grader.ask(&request, Some(&adapters)) else { panic!() };
        assert_eq!(grade.tokens, 2 * 2 * 24);
        assert!(grade.train_loss.is_finite() && grade.floor_seconds > 0.0);
        // NaN travels, and is never within the tolerance.
        assert!(grade.deviation.is_nan() || grade.deviation > grade.tolerance, "{grade:?}");
        assert_eq!(grade.validation_loss.is_nan(), fill == 0xff, "{grade:?}");
    }
    grader.input = None;
    assert!(grader.child.wait().unwrap().success(), "the end of its input is the end");
}

#[test]
fn what_makes_no_sense_is_refused_and_the_next_request_answered() {
    let mut grader = Grader::start();
    let (request, bytes) = check(CheckCase {
        batch: 1,
        length: 2,
        input: 64,
        output: 32,
        rank: 2,
        scale: 1.0,
        quantization: None,
        bias: false,
        dtype: Dtype::Float32,
        adapter: AdapterKind::Lora,
        siblings: Vec::new(),
    });
    assert!(grader.failure(&request, Some(&vec![0; bytes])).contains("`prepare` first"));
    let trial = GradeRequest::Trial(GradeTrial { seed: 1, iterations: 1, fine_tune_type: AdapterKind::Lora });
    assert!(grader.failure(&trial, Some(&[])).contains("`prepare` first"));

    let mut nothing = prepare();
    nothing.training.data = "/no/such.jsonl".into();
    assert!(grader.failure(&GradeRequest::Prepare(nothing), None).contains("/no/such.jsonl"));
    let mut nothing = prepare();
    nothing.model = Model::Folder("/no/such/model".into());
    assert!(grader.failure(&GradeRequest::Prepare(nothing), None).contains("/no/such/model"));

    let (prepared, _) = grader.prepare();
    let message = grader.failure(&request, Some(&vec![0; bytes - 1]));
    assert!(message.contains(&format!("must be {bytes}")), "{message}");
    assert!(grader.failure(&trial, Some(&[1, 2, 3])).contains("an answer of 3 bytes"));
    for (input, batch) in [(-64, 1), (100, 1), (64, i32::MAX)] {
        let GradeRequest::Check(mut check) = request.clone() else { panic!() };
        (check.challenge.case.input, check.challenge.case.batch) = (input, batch);
        check.challenge.case.quantization = Some(Quantization { group_size: 64, bits: 4 });
        let raw = if input == 100 { AnswerLayout::of(&check.challenge.case).bytes() } else { 8 };
        let message = grader.failure(&GradeRequest::Check(check), Some(&vec![0; raw]));
        assert!(!message.is_empty(), "{message}");
    }
    let GradeReply::Checked { .. } = grader.ask(&request, Some(&vec![0; bytes])) else { panic!() };
    let adapters = vec![0; prepared.adapter_bytes as usize];
    let GradeReply::Trial(_) = grader.ask(&trial, Some(&adapters)) else { panic!() };
}

#[test]
fn a_frame_that_is_no_request_ends_it() {
    let mut grader = Grader::start();
    let mut input = grader.input.take().unwrap();
    input.write_all(&[0xff; 64]).unwrap();
    assert!(!grader.child.wait().unwrap().success());
}
