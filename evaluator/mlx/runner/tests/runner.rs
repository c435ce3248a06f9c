//! The whole way: a kernel's source is compiled as a plugin, loaded by the runner, checked and trained with.
#![allow(clippy::unwrap_used, reason = "tests, also their helpers")]

use std::fs;
use std::io::Read;
use std::time::{Duration, Instant};

use common::{Kernel, Runner, all_texts, ask, cases, checking, failure_of, train, training_texts, trial};
use grader::challenge::Material;
use grader::compare::{ERROR_BUDGET, Judge};
use trial_protocol::{
    Blame, COMPILED_KERNELS, Challenge, CheckCase, Comparison, Failure, KERNEL_CACHE, Plugin, Reply, Request,
    TrialRequest,
};

mod common;
mod groups;

/// What the grader says about a kernel's answers to one challenge for each case.
fn judged(kernel: &Kernel, cases: &[CheckCase]) -> Vec<(CheckCase, Vec<Comparison>)> {
    judged_by(&mut checking(kernel, true), cases)
}

fn judged_by(runner: &mut Runner, cases: &[CheckCase]) -> Vec<(CheckCase, Vec<Comparison>)> {
    let judged = cases.iter().zip(7..).map(|(case, seed)| {
        let challenge = Challenge::plain(case.clone(), seed);
        let answer = ask(runner, &challenge).unwrap_or_else(|reply| panic!("{reply:?}"));
        let judge = Judge::new(Material::new(&challenge).unwrap(), ERROR_BUDGET).unwrap();
        (case.clone(), judge.compare(&answer))
    });
    judged.collect()
}

/// What a kernel does with the first case, when it fails to answer.
fn failure(kernel: &Kernel) -> String {
    let mut runner = checking(kernel, true);
    failure_of(ask(&mut runner, &Challenge::plain(cases()[0].clone(), 7)).unwrap_err())
}

#[track_caller]
fn assert_passes(kernel: &Kernel) {
    for (case, comparisons) in judged(kernel, &cases()) {
        assert_eq!(comparisons.len(), 10, "{case:?}");
        for comparison in comparisons {
            assert!(comparison.passed, "{case:?}: {comparison:?}");
        }
    }
}

#[test]
fn the_harness_says_what_it_is() {
    let mut runner = Runner::start(&Request::Describe);
    let Some(Reply::Description(description)) = runner.reply() else { panic!() };
    assert!(description.mlx.starts_with("0."), "{description:?}");
    assert!(["cpu", "metal", "cuda"].contains(&description.backend.as_str()), "{description:?}");
    assert!(!description.device.is_empty());
    // It stays, so that it can be looked at, until its supervisor hangs up.
    assert!(runner.child.try_wait().unwrap().is_none());
    runner.hang_up();
    assert!(runner.end().stdout.is_empty());
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

/// MLX's compiler on a CPU starts `g++`. A locked process can't start anything, and computes the same without.
#[test]
fn a_compiled_kernel_works_with_and_without_a_lock() {
    let kernel = Kernel::variant("fused.rs", "", "");
    for lock in [true, false] {
        for (case, comparisons) in judged_by(&mut checking(&kernel, lock), &cases()) {
            for comparison in comparisons {
                assert!(comparison.passed, "{case:?}, lock: {lock}: {comparison:?}");
            }
        }
    }
}

#[test]
fn wrong_numbers_are_found_where_they_are() {
    let wrong = [
        ("scale omitted", "forward"),
        ("gradient of x stopped", "grad x"),
        ("adapter's gradient stopped", "grad lora_b"),
        ("not a number", "forward"),
        ("float16 inside", "forward"),
        ("kept result", "forward"),
        ("kept for later", "repeated forward"),
        ("another the third time", "repeated forward"),
        ("prints a reply", "forward"),
    ];
    for (fault, quantity) in wrong {
        let kernel = Kernel::variant("bad.rs", "FAULT", fault);
        let (_, comparisons) = judged(&kernel, &cases()[..1]).remove(0);
        let comparison =
            comparisons.iter().find(|comparison| comparison.quantity == quantity && !comparison.passed);
        let comparison = comparison.unwrap_or_else(|| panic!("{fault}: {comparisons:?}"));
        let note = (fault == "not a number").then_some("not all values are finite");
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
    let texts = training_texts();
    for (fault, words) in faults {
        let kernel = Kernel::variant("bad.rs", "FAULT", fault);
        let message = failure(&kernel);
        assert!(
            message.contains(words) && message.contains("128×64, 4 bits, groups of 64"),
            "{fault}: {message}"
        );

        let mut runner = Runner::start(&Request::Trial(trial(Some(kernel.plugin()), texts.path())));
        let message = failure_of(runner.reply().unwrap());
        assert!(message.contains(words), "{fault}: {message}");
    }
}

#[test]
fn a_result_of_another_shape_or_type_is_the_kernels_failure() {
    let wrong = [
        ("wrong shape", "the result has shape [10, 64], must be [2, 5, 64]"),
        ("wrong type", "the result has type Float16, must be Float32"),
    ];
    for (fault, words) in wrong {
        let message = failure(&Kernel::variant("bad.rs", "FAULT", fault));
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
    let (own, own_adapters) = train(None, 42);
    assert_eq!((own.kernel.as_str(), own.kernel_layers, own.kernel_calls), ("mlx-lm", 0, 0));

    let (with_plugin, adapters) = train(Some(Kernel::initial().plugin()), 42);
    assert_eq!(with_plugin.kernel, "test");
    assert_eq!(with_plugin.kernel_layers, 14, "two blocks of seven linear layers");
    assert!(with_plugin.kernel_calls >= 14, "{with_plugin:?}");

    for report in [&own, &with_plugin] {
        assert!(report.quantized_layers >= 14, "{report:?}");
        assert_eq!(report.losses.len(), 3);
        assert!(report.seconds > 0.0);
        assert!(report.peak_memory_bytes > report.active_memory_bytes);
    }
    for (own, other) in own.losses.iter().zip(&with_plugin.losses) {
        assert!(
            (own - other).abs() < 1e-3 * own.abs(),
            "the same numbers by either kernel: {own} and {other}"
        );
    }
    assert!(own.peak_memory_bytes < with_plugin.peak_memory_bytes, "unpacking weights takes memory");
    // Of each of two blocks: inputs and outputs of q, k, v, o, gate, up, down; rank 4; float32.
    let widths = (64 + 64) + 2 * (64 + 32) + (64 + 64) + 2 * (64 + 128) + (128 + 64);
    assert_eq!((own_adapters.len(), adapters.len()), (2 * widths * 4 * 4, 2 * widths * 4 * 4));
}

#[test]
fn what_mlx_compiled_in_a_trial_is_handed_over_and_what_was_there_before_is_not() {
    let (texts, folder) = (training_texts(), tempfile::tempdir().unwrap());
    let [common, initial, own] = ["common", "initial", "own"].map(|name| folder.path().join(name));
    for (path, content) in [
        (common.join("a.ptx"), "of a process without a program"),
        (initial.join("a long name/b.ptx"), "of the initial program"),
        // A CPU compiles nothing, so what this process compiles is here before.
        (own.join("a long name/c.txt"), "names"),
        (own.join("d.ptx"), "code"),
        (own.join("d.cu"), "source"),
    ] {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
    let before = std::env::join_paths([&common, &initial]).unwrap();
    let request = TrialRequest { hand_over: true, ..trial(None, texts.path()) };
    let environment = [(COMPILED_KERNELS, before.as_os_str()), (KERNEL_CACHE, own.as_os_str())];
    let mut runner = Runner::start_with(&Request::Trial(request), &environment);
    assert_eq!(runner.reply(), Some(Reply::Ready));
    runner.go(42);
    let Some(Reply::Trained { bytes }) = runner.reply() else { panic!("not trained") };
    runner.raw(bytes);
    let Some(Reply::Compiled { files }) = runner.reply() else { panic!("nothing handed over") };
    let mut handed_over: Vec<(String, Vec<u8>)> = Vec::new();
    let mut raw = runner.raw(files.iter().map(|file| file.bytes).sum());
    for file in files {
        let rest = raw.split_off(file.bytes as usize);
        handed_over.push((file.name, std::mem::replace(&mut raw, rest)));
    }
    handed_over.sort();
    let expected = [("a long name/c.txt", "names"), ("d.ptx", "code")];
    assert_eq!(handed_over, expected.map(|(name, content)| (name.to_owned(), content.as_bytes().to_vec())));
    assert!(matches!(runner.reply(), Some(Reply::Trial(_))));
    assert_eq!(fs::read(own.join("a long name/b.ptx")).unwrap(), b"of the initial program");
    assert!(own.join("a.ptx").is_symlink());
}

#[test]
fn the_start_signal_decides_what_is_computed() {
    let (first, adapters) = train(None, 1);
    let (again, same) = train(None, 1);
    let (_, other) = train(None, 2);
    assert_eq!(first.losses, again.losses);
    assert!(adapters == same && adapters != other);
}

#[test]
fn a_trial_agrees_with_the_graders_own_training() {
    let texts = training_texts();
    let request = trial(None, texts.path());
    let graded = trial_protocol::Training { data: all_texts(), ..request.training };
    let mut judge = grader::trial::Judge::new(&request.model, &graded).unwrap();
    for kernel in [None, Some(Kernel::initial()), Some(Kernel::variant("good.rs", "FORM", "custom_vjp"))] {
        let (report, adapters) = train(kernel.as_ref().map(Kernel::plugin), 42);
        let grade = judge.grade(42, 3, &adapters).unwrap();
        assert!(grade.deviation <= grade.tolerance, "{grade:?}");
        assert!((grade.train_loss - report.losses[2]).abs() < 1e-4 * grade.train_loss, "{grade:?}");
        assert!(report.seconds > grade.floor_seconds && grade.floor_seconds > 0.0, "{grade:?} {report:?}");
        assert!(judge.grade(43, 3, &adapters).unwrap().deviation > grade.tolerance, "another seed");
    }
    for fault in ["adapter's gradient stopped", "scale omitted"] {
        let (_, adapters) = train(Some(Kernel::variant("bad.rs", "FAULT", fault).plugin()), 42);
        let grade = judge.grade(42, 3, &adapters).unwrap();
        assert!(grade.deviation > grade.tolerance, "{fault}: {grade:?}");
    }
}

#[test]
fn what_is_wrong_with_the_settings_is_nobodys_kernel() {
    let kernel = Kernel::initial();
    let request = trial(Some(kernel.plugin()), "/no/such/folder".as_ref());
    let mut runner = Runner::start(&Request::Trial(request));
    let reply = runner.reply();
    let Some(Reply::Failed(Failure { blame: Blame::Setup, message })) = reply else { panic!("{reply:?}") };
    assert!(message.contains("/no/such/folder"), "{message}");

    let mut runner = checking(&kernel, true);
    let case = CheckCase { input: 100, ..cases()[0].clone() };
    let reply = ask(&mut runner, &Challenge::plain(case, 1)).unwrap_err();
    let Reply::Failed(Failure { blame: Blame::Setup, message }) = reply else { panic!("{reply:?}") };
    assert!(message.contains("100×64"), "{message}");
}

#[test]
fn a_file_that_isnt_a_plugin_is_the_kernels_failure() {
    let plugin = Plugin { path: "/no/such/plugin.so".into(), kernel: "test".into() };
    let texts = training_texts();
    let mut runner = Runner::start(&Request::Trial(trial(Some(plugin), texts.path())));
    assert!(failure_of(runner.reply().unwrap()).contains("/no/such/plugin.so"));
}

#[test]
fn the_runner_goes_when_its_supervisor_does() {
    let texts = training_texts();
    let waiting = Runner::start(&Request::Trial(trial(None, texts.path())));
    let checking = checking(&Kernel::initial(), true);
    for (mut runner, ready) in [(waiting, false), (checking, true)] {
        if !ready {
            assert_eq!(runner.reply(), Some(Reply::Ready));
        }
        runner.hang_up();
        let start = Instant::now();
        let status = runner.child.wait().unwrap();
        assert!(
            !status.success() && start.elapsed() < Duration::from_secs(2),
            "{status} after {:?}",
            start.elapsed()
        );
    }
}

#[test]
fn a_runner_that_is_asked_twice_answers_twice_the_same() {
    for lock in [true, false] {
        let mut runner = checking(&Kernel::initial(), lock);
        let challenge = |seed| Challenge::plain(cases()[1].clone(), seed);
        let first = ask(&mut runner, &challenge(1)).unwrap();
        let other = ask(&mut runner, &challenge(2)).unwrap();
        assert!(first == ask(&mut runner, &challenge(1)).unwrap() && first != other, "lock: {lock}");
    }
}

/// Whether the answer to the first case, with so many companions and idle calls, is right.
fn passes(kernel: &Kernel, companions: u32, idle_calls: u32) -> bool {
    let mut runner = checking(kernel, true);
    let challenge = Challenge { companions, idle_calls, ..Challenge::plain(cases()[0].clone(), 7) };
    let answer = ask(&mut runner, &challenge).unwrap_or_else(|reply| panic!("{reply:?}"));
    let judge = Judge::new(Material::new(&challenge).unwrap(), ERROR_BUDGET).unwrap();
    judge.compare(&answer).iter().all(|comparison| comparison.passed)
}

#[test]
fn a_kernel_that_is_another_among_others_is_found_out() {
    for fault in ["another among others", "another in turn"] {
        let kernel = Kernel::variant("bad.rs", "FAULT", fault);
        assert!(passes(&kernel, 0, 3), "{fault}: right where it is alone");
        for companions in [1, 2, 30] {
            assert!(!passes(&kernel, companions, 0), "{fault}, {companions} companions");
        }
    }
    assert!(passes(&Kernel::initial(), 30, 3));
}

#[test]
fn a_second_request_is_no_challenge() {
    let kernel = Kernel::initial();
    let mut runner = checking(&kernel, true);
    runner.send(&Request::Describe);
    assert_eq!(runner.reply(), None);
    let output = runner.end();
    assert!(!output.status.success());
    assert!(String::from_utf8_lossy(&output.stderr).contains("trial-runner: "), "{output:?}");
}

#[test]
fn what_a_kernel_prints_is_no_reply() {
    let kernel = Kernel::variant("bad.rs", "FAULT", "prints a reply");
    let mut runner = checking(&kernel, true);
    let challenge = Challenge::plain(cases()[0].clone(), 1);
    ask(&mut runner, &challenge).unwrap();
    runner.hang_up();
    assert_eq!(runner.reply(), None, "nothing but the one reply");
    let mut printed = String::new();
    runner.child.stderr.take().unwrap().read_to_string(&mut printed).unwrap();
    assert!(printed.contains("\"reply\":\"answer\""), "{printed}");
}
