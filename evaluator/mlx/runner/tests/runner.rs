//! The whole way: a kernel's source is compiled as a plugin, loaded by the runner, checked and trained with.

use std::io::Read;
use std::time::{Duration, Instant};

use common::{Kernel, Runner, cases, check, trial};
use trial_protocol::{Blame, Comparison, Failure, Plugin, Reply, Request, TrialReport};

mod common;

fn comparisons(reply: Reply) -> Vec<Comparison> {
    match reply {
        Reply::Check(report) => {
            assert_eq!(report.kernel, "test");
            report.comparisons
        }
        other => panic!("{other:?}"),
    }
}

fn kernel_failure(reply: Reply) -> String {
    match reply {
        Reply::Failed(Failure { blame: Blame::Kernel, message }) => message,
        other => panic!("{other:?}"),
    }
}

fn train(plugin: Option<Plugin>) -> TrialReport {
    let mut runner = Runner::start(&Request::Trial(trial(plugin)));
    assert_eq!(runner.reply(), Some(Reply::Ready));
    runner.go();
    assert_eq!(runner.reply(), Some(Reply::Trained), "here the supervisor's clock stops");
    match runner.reply() {
        Some(Reply::Trial(report)) => report,
        other => panic!("{other:?}"),
    }
}

#[track_caller]
fn assert_passes(kernel: &Kernel) {
    let comparisons = comparisons(check(kernel, cases()));
    assert_eq!(comparisons.len(), 4 * cases().len());
    for comparison in comparisons {
        assert!(comparison.passed, "{comparison:?}");
    }
}

#[test]
fn the_harness_says_what_it_is() {
    let mut runner = Runner::start(&Request::Describe);
    let Some(Reply::Description(description)) = runner.reply() else { panic!() };
    assert!(description.mlx.starts_with("0."), "{description:?}");
    assert!(["cpu", "metal", "cuda"].contains(&description.backend.as_str()), "{description:?}");
    assert!(!description.device.is_empty());
    assert!(runner.end().status.success());
}

#[test]
fn the_initial_kernel_passes_the_checks() {
    assert_passes(&Kernel::initial());
}

#[test]
fn right_kernels_of_every_form_pass_the_checks() {
    for form in ["quantized", "unpacked", "checkpoint", "compile", "custom_vjp"] {
        assert_passes(&Kernel::variant("good.rs", "FORM", form));
    }
}

#[test]
fn wrong_numbers_are_found_where_they_are() {
    let wrong = [
        ("scale omitted", "forward", None),
        ("gradient of x stopped", "grad x", None),
        ("adapter's gradient stopped", "grad lora_b", None),
        ("not a number", "forward", Some("not all values are finite")),
        ("wrong shape", "forward", Some("shape [10, 64], must be [2, 5, 64]")),
        ("wrong type", "forward", Some("type Float16, must be Float32")),
        ("kept result", "forward", None),
        ("prints a reply", "forward", None),
    ];
    for (fault, quantity, note) in wrong {
        let kernel = Kernel::variant("bad.rs", "FAULT", fault);
        let comparisons = comparisons(check(&kernel, cases()[..1].to_vec()));
        let comparison = comparisons.iter().find(|comparison| comparison.quantity == quantity).unwrap();
        assert!(!comparison.passed, "{fault}: {comparison:?}");
        assert_eq!(comparison.note.as_deref(), note, "{fault}");
        assert_eq!(comparison.error.is_some(), note.is_none(), "{fault}");
    }
}

#[test]
fn a_kernel_that_gives_up_is_quoted() {
    let faults = [
        ("error", "I don't do that"),
        ("panic", "panicked: row 7 is missing"),
        ("error in gradient", "no gradient today"),
    ];
    for (fault, words) in faults {
        let kernel = Kernel::variant("bad.rs", "FAULT", fault);
        let message = kernel_failure(check(&kernel, cases()[..1].to_vec()));
        assert!(
            message.contains(words) && message.contains("128×64, 4 bits, groups of 64"),
            "{fault}: {message}"
        );

        let mut runner = Runner::start(&Request::Trial(trial(Some(kernel.plugin()))));
        let message = kernel_failure(runner.reply().unwrap());
        assert!(message.contains(words), "{fault}: {message}");
    }
}

#[test]
fn mlx_is_out_of_a_kernels_reach() {
    let build =
        "pub fn build(_: &kernel_api::Layer) -> kernel_api::Result<Box<dyn kernel_api::Kernel>> { todo!() }";
    for (reach, words) in [
        ("fn reach(a: kernel_api::Array) { kernel_api::host::into_mlx(a); }", "is unsafe"),
        (
            "fn reach(a: kernel_api::Array) { unsafe { kernel_api::host::into_mlx(a) }; }",
            "usage of an `unsafe` block",
        ),
        ("use mlx_rs::Array;", "unresolved import"),
        ("extern crate mlx_rs;", "can't find crate"),
        ("fn reach(a: kernel_api::Array) { a.inner; }", "is private"),
    ] {
        let Err(message) = Kernel::compile(&format!("{reach}\n{build}")) else { panic!("{reach} compiled") };
        assert!(message.contains(words), "{reach}: {message}");
    }
}

#[test]
fn a_trial_trains_with_the_kernel_it_was_given() {
    let own = train(None);
    assert_eq!((own.kernel.as_str(), own.kernel_layers, own.kernel_calls), ("mlx-lm", 0, 0));

    let with_plugin = train(Some(Kernel::initial().plugin()));
    assert_eq!(with_plugin.kernel, "test");
    assert_eq!(with_plugin.kernel_layers, 14, "two blocks of seven linear layers");
    assert!(with_plugin.kernel_calls >= 14, "{with_plugin:?}");

    for report in [&own, &with_plugin] {
        assert!(report.quantized_layers >= 14, "{report:?}");
        assert_eq!(report.losses.len(), 3);
        assert!(report.tokens > 0 && report.seconds > 0.0);
        assert!(report.peak_memory_bytes > report.active_memory_bytes);
        assert!(report.validation_loss.is_finite());
    }
    for (own, other) in own.losses.iter().zip(&with_plugin.losses) {
        assert!(
            (own - other).abs() < 1e-3 * own.abs(),
            "the same numbers by either kernel: {own} and {other}"
        );
    }
    assert!(own.peak_memory_bytes < with_plugin.peak_memory_bytes, "unpacking weights takes memory");
}

#[test]
fn what_is_wrong_with_the_settings_is_nobodys_kernel() {
    let kernel = Kernel::initial();
    let mut request = trial(Some(kernel.plugin()));
    request.training.data = "/no/such/file.jsonl".into();
    let mut runner = Runner::start(&Request::Trial(request));
    let reply = runner.reply();
    let Some(Reply::Failed(Failure { blame: Blame::Setup, message })) = reply else { panic!("{reply:?}") };
    assert!(message.contains("/no/such/file.jsonl"), "{message}");
}

#[test]
fn a_file_that_isnt_a_plugin_is_the_kernels_failure() {
    let plugin = Plugin { path: "/no/such/plugin.so".into(), kernel: "test".into() };
    let mut runner = Runner::start(&Request::Trial(trial(Some(plugin))));
    assert!(kernel_failure(runner.reply().unwrap()).contains("/no/such/plugin.so"));
}

#[test]
fn the_runner_goes_when_its_supervisor_does() {
    let mut runner = Runner::start(&Request::Trial(trial(None)));
    assert_eq!(runner.reply(), Some(Reply::Ready));
    runner.hang_up();
    let start = Instant::now();
    let status = runner.child.wait().unwrap();
    assert!(
        !status.success() && start.elapsed() < Duration::from_secs(2),
        "{status} after {:?}",
        start.elapsed()
    );
}

#[test]
fn what_a_kernel_prints_is_no_reply() {
    let kernel = Kernel::variant("bad.rs", "FAULT", "prints a reply");
    let request = trial_protocol::CheckRequest {
        plugin: kernel.plugin(),
        cases: cases()[..1].to_vec(),
        tolerance: 1e-4,
        seed: 1,
    };
    let mut runner = Runner::start(&Request::Check(request));
    assert_eq!(comparisons(runner.reply().unwrap()).len(), 4);
    assert_eq!(runner.reply(), None, "nothing but the one reply");
    let mut printed = String::new();
    runner.child.stderr.take().unwrap().read_to_string(&mut printed).unwrap();
    assert!(printed.contains("\"comparisons\":[]"), "{printed}");
}
