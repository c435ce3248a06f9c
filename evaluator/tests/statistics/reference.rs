//! Reference values: what `SciPy` says of given data.

use evaluator::statistics::{
    Comparison, Equivalence, MannWhitney, SeedVerdict, bootstrap_mean, compare, equivalence,
    equivalence_paired, flip_log_factor, hodges_lehmann, mann_whitney, mann_whitney_asymptotic,
    mann_whitney_exact, mean, one_sample, seed_rule, sign_flip, signed_rank, signed_rank_interval,
    signed_rank_order, walsh_averages,
};
use rand::Rng;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use serde_json::Value;

use crate::group::Group;

/// Groups by the first word of a value's key.
struct Groups {
    all: Vec<Group>,
    closed_form: f64,
    p_values: f64,
}

impl Groups {
    fn group(&mut self, name: &str) -> &mut Group {
        let name = format!("reference: {name}");
        let found = self.all.iter().position(|group| group.name == name);
        let index = found.unwrap_or_else(|| {
            self.all.push(Group::new(&name));
            self.all.len() - 1
        });
        &mut self.all[index]
    }

    /// Nulls are undefined, and say nothing.
    fn value(&mut self, group: &str, case: &str, expected: &Value, got: Option<f64>) {
        if let Some(expected) = expected.as_f64() {
            let tolerance = if case.contains("p_") { self.p_values } else { self.closed_form };
            self.group(group).close(case, expected, got, tolerance);
        }
    }

    fn ends(&mut self, group: &str, case: &str, expected: &Value, got: Option<(f64, f64)>) {
        self.value(group, &format!("{case}: lower end"), &expected[0], got.map(|ends| ends.0));
        self.value(group, &format!("{case}: upper end"), &expected[1], got.map(|ends| ends.1));
    }
}

/// All data sets of a `reference.json`.
pub(crate) fn check(reference: &Value) -> Result<Vec<Group>, String> {
    let tolerance = |key: &str, default: f64| reference["tolerance"][key].as_f64().unwrap_or(default);
    let mut groups = Groups {
        all: Vec::new(),
        closed_form: tolerance("closed_form", 1e-10),
        p_values: tolerance("p_values", 1e-9),
    };
    let sets = reference["datasets"].as_array().ok_or("`datasets` is not a list")?;
    for (index, set) in sets.iter().enumerate() {
        let name = set["name"].as_str().map_or_else(|| format!("data set {index}"), str::to_owned);
        let numbers = |key: &str| -> Result<Vec<f64>, String> {
            let list = set[key].as_array().ok_or_else(|| format!("{name}: `{key}` is not a list"))?;
            list.iter().map(|v| v.as_f64().ok_or_else(|| format!("{name}: `{key}` holds {v}"))).collect()
        };
        check_set(&mut groups, &name, set, &numbers("baseline")?, &numbers("candidate")?);
    }
    Ok(groups.all)
}

fn check_set(groups: &mut Groups, name: &str, set: &Value, baseline: &[f64], candidate: &[f64]) {
    let logs = |sample: &[f64]| -> Vec<f64> { sample.iter().map(|value| value.ln()).collect() };
    let (log_baseline, log_candidate) = (logs(baseline), logs(candidate));
    let paired: Vec<f64> = log_candidate.iter().zip(&log_baseline).map(|(c, b)| c - b).collect();

    t_test(groups, name, "welch_raw", set, compare(baseline, candidate, 0.95));
    t_test(groups, name, "welch_log", set, compare(&log_baseline, &log_candidate, 0.95));
    t_test(groups, name, "paired_t_log", set, one_sample(&paired, 0.95));
    let ratio = mean(&log_candidate).zip(mean(&log_baseline)).map(|(c, b)| (c - b).exp());
    groups.value("ratio_geomean", &format!("{name}: ratio_geomean"), &set["ratio_geomean"], ratio);
    seed(groups, name, &set["seed_rule"], baseline, candidate);
    ranks(groups, name, &set["mannwhitney"], baseline, candidate);
    for (key, tests) in set.as_object().into_iter().flatten().filter(|(key, _)| key.starts_with("tost_")) {
        // tost_welch_log_1pct, tost_paired_log_1pct: the last word is the limit.
        let percent = key.rsplit('_').next().and_then(|word| word.strip_suffix("pct")?.parse::<f64>().ok());
        let limit = percent.unwrap_or(1.0) / 100.0;
        let got = if key.contains("paired") {
            equivalence_paired(&paired, limit, 0.05)
        } else {
            equivalence(&log_baseline, &log_candidate, limit, 0.05)
        };
        let side = |side: fn(Equivalence) -> f64| got.map(side);
        groups.value("tost", &format!("{name}: {key}: p_lower"), &tests["p_lower"], side(|t| t.p_lower));
        groups.value("tost", &format!("{name}: {key}: p_upper"), &tests["p_upper"], side(|t| t.p_upper));
    }
    groups.value(
        "hodges_lehmann",
        &format!("{name}: hodges_lehmann_log"),
        &set["hodges_lehmann_log"],
        hodges_lehmann(&paired),
    );
    signed_ranks(groups, name, set, &paired);
    groups.value(
        "sign_flip",
        &format!("{name}: sign_flip_exact_p_greater"),
        &set["sign_flip_exact_p_greater"],
        sign_flip(&paired),
    );
    for (key, values) in set.as_object().into_iter().flatten() {
        if let Some(bet) = key.strip_prefix("flip_e_process_c").and_then(|bet| bet.parse().ok()) {
            e_process(groups, &format!("{name}: {key}"), values, &paired, bet);
        }
    }
    bootstrap(groups, name, set, &paired);
}

fn t_test(groups: &mut Groups, name: &str, key: &str, set: &Value, got: Option<Comparison>) {
    let expected = &set[key];
    let case = |field: &str| format!("{name}: {key}: {field}");
    match got {
        Some(Comparison::Tested(test)) => {
            groups.value(key, &case("t"), &expected["t"], Some(test.t));
            groups.value(key, &case("df"), &expected["df"], Some(test.degrees_of_freedom));
            groups.value(key, &case("p_two_sided"), &expected["p_two_sided"], Some(test.p_value));
            groups.value(key, &case("p_greater"), &expected["p_greater"], Some(test.p_greater));
            groups.ends(key, &case("ci95"), &expected["ci95"], Some(test.interval));
        }
        // Without variance t is undefined; what SciPy says of its limits is what certainty means.
        Some(Comparison::Certain { difference }) => {
            let greater = if difference > 0.0 { 0.0 } else { 1.0 };
            groups.value(key, &case("p_two_sided"), &expected["p_two_sided"], Some(0.0));
            groups.value(key, &case("p_greater"), &expected["p_greater"], Some(greater));
            groups.ends(key, &case("ci95"), &expected["ci95"], Some((difference, difference)));
        }
        Some(Comparison::Identical) => {
            groups.ends(key, &case("ci95"), &expected["ci95"], Some((0.0, 0.0)));
        }
        None => groups.value(key, &case("t"), &expected["t"], None),
    }
}

fn seed(groups: &mut Groups, name: &str, expected: &Value, baseline: &[f64], candidate: &[f64]) {
    let got = seed_rule(baseline, candidate, 1.6);
    let case = |field: &str| format!("{name}: seed_rule: {field}");
    groups.value("seed_rule", &case("t"), &expected["t"], got.and_then(|rule| rule.t));
    groups.value(
        "seed_rule",
        &case("ratio_of_means"),
        &expected["ratio_of_means"],
        got.map(|rule| rule.ratio_of_means),
    );
    if let Some(expected) = expected["verdict"].as_str() {
        let word = got.map_or("nothing", |rule| match rule.verdict {
            SeedVerdict::Significant => "significant",
            SeedVerdict::NotSignificant => "not_significant",
            SeedVerdict::Identical => "identical",
        });
        groups.group("seed_rule").same(&case("verdict"), expected, word);
    }
}

fn ranks(groups: &mut Groups, name: &str, expected: &Value, baseline: &[f64], candidate: &[f64]) {
    let continuity = expected["continuity_correction"].as_bool().unwrap_or(true);
    let got: Option<MannWhitney> = match expected["method"].as_str() {
        Some("exact") => mann_whitney_exact(baseline, candidate),
        Some("asymptotic") => mann_whitney_asymptotic(baseline, candidate, continuity),
        _ => mann_whitney(baseline, candidate),
    };
    if let (Some(method), Some(own)) = (expected["method"].as_str(), mann_whitney(baseline, candidate)) {
        let word = if own.exact { "exact" } else { "asymptotic" };
        groups.group("mannwhitney").same(&format!("{name}: mannwhitney: method"), method, word);
    }
    for (field, got) in [
        ("U_candidate", got.map(|test| test.u)),
        ("p_two_sided", got.map(|test| test.p_value)),
        ("p_greater", got.map(|test| test.p_greater)),
    ] {
        groups.value("mannwhitney", &format!("{name}: mannwhitney: {field}"), &expected[field], got);
    }
}

fn signed_ranks(groups: &mut Groups, name: &str, set: &Value, paired: &[f64]) {
    let expected = &set["wilcoxon_exact"];
    let got = signed_rank(paired);
    for (field, got) in [
        ("T_plus", got.map(|test| test.t_plus)),
        ("p_two_sided", got.map(|test| test.p_value)),
        ("p_greater", got.map(|test| test.p_greater)),
    ] {
        groups.value("wilcoxon", &format!("{name}: wilcoxon_exact: {field}"), &expected[field], got);
    }
    let expected = &set["signed_rank_ci95_log"];
    let case = |field: &str| format!("{name}: signed_rank_ci95_log: {field}");
    let order = signed_rank_order(paired.len(), 0.95).map(|order| order as f64);
    groups.value("signed_rank_ci", &case("k"), &expected["k"], order);
    let got = signed_rank_interval(paired, 0.95);
    groups.value("signed_rank_ci", &case("lo"), &expected["lo"], got.map(|ends| ends.0));
    groups.value("signed_rank_ci", &case("hi"), &expected["hi"], got.map(|ends| ends.1));
    if let Some(averages) = set["walsh_averages"].as_array() {
        let got = walsh_averages(paired);
        for (index, expected) in averages.iter().enumerate() {
            groups.value("signed_rank_ci", &case("walsh"), expected, got.get(index).copied());
        }
    }
}

fn e_process(groups: &mut Groups, case: &str, expected: &Value, paired: &[f64], bet: f64) {
    let mut log_e = 0.0;
    for (index, expected) in expected.as_array().into_iter().flatten().enumerate() {
        let Some(so_far) = paired.get(..=index) else {
            groups.value("flip_e_process", &format!("{case}: pair {index}"), expected, None);
            continue;
        };
        log_e += flip_log_factor(so_far, bet);
        groups.value("flip_e_process", &format!("{case}: pair {index}"), expected, Some(log_e.exp()));
    }
}

fn bootstrap(groups: &mut Groups, name: &str, set: &Value, paired: &[f64]) {
    let mut rng = ChaCha8Rng::seed_from_u64(20);
    let mut pick = |n: usize| (rng.next_u64() % n as u64) as usize;
    let exact = set.get("bootstrap_mean_log_exact");
    if let Some(expected) = exact {
        let case = |field: &str| format!("{name}: bootstrap_mean_log_exact: {field}");
        let got = bootstrap_mean(paired, 0.95, 9999, &mut pick).filter(|bootstrap| bootstrap.exact);
        groups.value("bootstrap_exact", &case("z0"), &expected["z0"], got.map(|b| b.z0));
        let acceleration = got.map(|b| b.acceleration);
        groups.value("bootstrap_exact", &case("acceleration"), &expected["acceleration"], acceleration);
        groups.ends(
            "bootstrap_exact",
            &case("percentile"),
            &expected["percentile"],
            got.map(|b| b.percentile),
        );
        groups.ends("bootstrap_exact", &case("bca"), &expected["bca"], got.and_then(|b| b.bca));
    }
    let Some((key, expected)) =
        set.as_object().into_iter().flatten().find(|(key, _)| key.starts_with("bootstrap_mean_log_scipy"))
    else {
        return;
    };
    let resamples = key.trim_start_matches("bootstrap_mean_log_scipy").parse().unwrap_or(9999);
    let got = bootstrap_mean(paired, 0.95, resamples, &mut pick);
    for (field, ends) in [("percentile", got.map(|b| b.percentile)), ("BCa", got.and_then(|b| b.bca))] {
        for (index, end) in [(0, ends.map(|ends| ends.0)), (1, ends.map(|ends| ends.1))] {
            let (Some(center), Some(deviation)) =
                (expected[field]["mean20"][index].as_f64(), expected[field]["sd20"][index].as_f64())
            else {
                continue;
            };
            // Few values give few different means, and no deviation; only rounding is left.
            let tolerance = 5.0 * deviation + groups.closed_form;
            let case = format!("{name}: {key}: {field}[{index}]");
            groups.group("bootstrap_monte_carlo").within(&case, center, end, tolerance);
        }
    }
}
