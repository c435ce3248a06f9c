//! API keys and whatever else lies about in the environment, the configuration and the home folder: it reaches the endpoint that it is
//! for and nothing else. A real `evolve run` against a real server, with an evaluated program that takes all it can get.

#![allow(clippy::unwrap_used, reason = "a test may panic, in its helpers too")]

mod common;

use std::fmt::Write as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};

use common::{Project, text};
use serde_json::{Value, json};
use wiremock::matchers::any;
use wiremock::{Mock, MockServer, Request, ResponseTemplate};

// All hold the marker that the hostile program looks for.
const FROM_VARIABLE: &str = "sk-proj-CANARY+4f1c/0a9d8e7b6c5f4e3d2c1b";
const WRITTEN_OUT: &str = "sk-full-CANARY-77aa66bb55cc44dd33ee22ff";
const UNRELATED: &str = "unrelated-CANARY-0123456789abcdef";
const NETRC: &str = "netrc-CANARY-fedcba9876543210";
const SSH: &str = "b3BlbnNzaC1rZXktCANARYcGxhbnRlZA";
const AWS: &str = "AKIACANARY0000000001";
const PLANTED: [&str; 6] = [FROM_VARIABLE, WRITTEN_OUT, UNRELATED, NETRC, SSH, AWS];

/// A search of one model with each kind of key. The problem's command is the hostile program.
fn project(base: &str, more: &str) -> Project {
    let project = Project::new("");
    project.write(
        "config.yaml",
        &format!(
            "problem: problem\nmax_iterations: 8\nlookahead: 1\nllm:\n  api_base: {base}\n  retries: 1\n  retry_delay: 0.01\n  \
             models:\n  - {{ name: first, api_key: \"${{OPENAI_API_KEY}}\" }}\n  - {{ name: second, api_key: {WRITTEN_OUT} }}\n{more}"
        ),
    );
    project.write("home/.netrc", &format!("machine api.openai.com password {NETRC}\n"));
    project.write("home/.ssh/id_ed25519", &format!("-----BEGIN OPENSSH PRIVATE KEY-----\n{SSH}\n"));
    project.write("home/.aws/credentials", &format!("[default]\naws_access_key_id = {AWS}\n"));
    project.write("problem/dump.py", include_str!("data/dump.py"));
    let yaml = std::fs::read_to_string(project.path("problem/problem.yaml")).unwrap();
    // 1: also in other processes, home folders and /tmp.
    let command = json!(["python3", "dump.py", "1", project.path("home"), project.folder.path()]);
    project.write("problem/problem.yaml", &yaml.replace("[awk, -f, evaluate.awk]", &command.to_string()));
    project
}

fn planted(project: &Project, mut command: Command) -> Command {
    command
        .env("OPENAI_API_KEY", FROM_VARIABLE)
        .env("EVOLVE_SECRET_CANARY", UNRELATED)
        .env("EVOLVE_HARMLESS", "but nobody's business")
        .env("RUST_BACKTRACE", "full")
        .env("HOME", project.path("home"));
    command
}

fn evolve(project: &Project, arguments: &[&str]) -> Output {
    planted(project, project.command(arguments)).output().unwrap()
}

async fn serve(reply: impl Fn(usize, &Request) -> ResponseTemplate + Send + Sync + 'static) -> MockServer {
    let server = MockServer::start().await;
    let count = AtomicUsize::new(0);
    let respond = move |request: &Request| reply(count.fetch_add(1, Ordering::SeqCst), request);
    Mock::given(any()).respond_with(respond).mount(&server).await;
    server
}

fn completion(content: &str) -> ResponseTemplate {
    ResponseTemplate::new(200).set_body_json(json!({
        "choices": [{ "index": 0, "finish_reason": "stop", "message": { "role": "assistant", "content": content } }],
        "usage": { "prompt_tokens": 100, "completion_tokens": 20 }
    }))
}

fn edit(step: usize) -> String {
    format!("I raise x.\n<<<<<<< SEARCH\ny = 3\n=======\ny = 3\nx = {}\n>>>>>>> REPLACE\n", 10 + 5 * step)
}

/// What the server was sent as a key.
fn key(request: &Request) -> String {
    let header = request.headers.get("authorization").map(|value| value.to_str().unwrap());
    header.and_then(|value| value.strip_prefix("Bearer ")).unwrap_or_default().to_owned()
}

/// The ways in which a secret may be written: as it is, and as base64 and URLs write it.
fn forms(secret: &str) -> Vec<String> {
    let mut forms = vec![secret.to_owned()];
    let url = secret.bytes().fold(String::new(), |mut url, byte| {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            url.push(char::from(byte));
        } else {
            write!(url, "%{byte:02X}").unwrap();
        }
        url
    });
    forms.push(url.to_lowercase());
    forms.push(url);
    // In base64 a text looks different at each of three places; both ends depend on what is around it.
    for shift in 0..3 {
        let encoded = base64(format!("{}{secret}", &"xxx"[..shift]).as_bytes());
        forms.push(encoded[4..encoded.len() - 4].to_owned());
    }
    forms
}

fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let of = |index: usize| u32::from(chunk.get(index).copied().unwrap_or(0));
        let bits = of(0) << 16 | of(1) << 8 | of(2);
        for place in 0..4 {
            let letter = LETTERS[(bits >> (18 - 6 * place) & 63) as usize];
            text.push(if place <= chunk.len() { char::from(letter) } else { '=' });
        }
    }
    text
}

fn assert_clean(place: &str, bytes: &[u8]) {
    for secret in PLANTED {
        for form in forms(secret) {
            let at = bytes.windows(form.len()).position(|window| window == form.as_bytes());
            if let Some(at) = at {
                let around = &bytes[at.saturating_sub(80)..(at + form.len() + 20).min(bytes.len())];
                panic!("{secret} (as {form}) is in {place}: {}", text(around));
            }
        }
        // A part of one, as from a text that was cut, is too much as well.
        let half = &secret.as_bytes()[..secret.len() - 12];
        assert!(!bytes.windows(half.len()).any(|window| window == half), "half of {secret} is in {place}");
    }
}

/// Every file below the folder, but for those that the secrets were planted in.
fn assert_files_clean(project: &Project) -> Vec<String> {
    let mut names = Vec::new();
    let mut folders = vec![project.folder.path().to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap().flatten() {
            let path = entry.path();
            let name = path.strip_prefix(project.folder.path()).unwrap().display().to_string();
            if name == "home" || name == "config.yaml" {
                continue;
            }
            if path.is_dir() {
                folders.push(path);
            } else {
                assert_clean(&name, &std::fs::read(&path).unwrap());
                names.push(name);
            }
        }
    }
    names
}

fn assert_output_clean(what: &str, output: &Output) {
    assert_clean(&format!("standard output of {what}"), &output.stdout);
    assert_clean(&format!("standard error of {what}"), &output.stderr);
}

#[test]
fn a_planted_secret_would_be_recognised_in_each_form() {
    assert_eq!(base64(b"any carnal pleas"), "YW55IGNhcm5hbCBwbGVhcw==");
    for before in ["", "a", "ab", "abc"] {
        let encoded = base64(format!("{before}{FROM_VARIABLE} and more").as_bytes());
        assert!(std::panic::catch_unwind(|| assert_clean("a test", encoded.as_bytes())).is_err(), "{before}");
    }
    for found in [
        FROM_VARIABLE.to_owned(),
        format!("?key={}", forms(FROM_VARIABLE)[2]),
        FROM_VARIABLE[..30].to_owned(),
    ] {
        assert!(std::panic::catch_unwind(|| assert_clean("a test", found.as_bytes())).is_err(), "{found}");
    }
    assert_clean("a test", b"sk-proj- and CANARY");
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_go_to_the_endpoint_and_nowhere_else() {
    let server = serve(|n, request| match n {
        2 => ResponseTemplate::new(500)
            .set_body_string(format!("{{\"error\": \"echo Bearer {}\"}}", key(request))),
        // A reply becomes a program, and is stored: even there the key must not be.
        4 => completion(&format!(
            "{}\nYour key is {}.\n",
            edit(n).replace("y = 3\nx", &format!("y = 3\n# {}\nx", key(request))),
            key(request)
        )),
        n => completion(&edit(n)),
    })
    .await;
    let project = project(&format!("{}/v1", server.uri()), "");
    let output = evolve(&project, &["run", "-vv", "--json"]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert_output_clean("run -vv --json", &output);
    assert!(!common::events(&text(&output.stdout)).is_empty());

    let requests = server.received_requests().await.unwrap();
    for wanted in [FROM_VARIABLE, WRITTEN_OUT] {
        assert!(requests.iter().any(|request| key(request) == wanted), "{wanted} was never used");
    }
    for request in &requests {
        assert_clean("a prompt", &request.body);
        assert_clean("an address", request.url.as_str().as_bytes());
        for (name, value) in request.headers.iter().filter(|(name, _)| *name != "authorization") {
            assert_clean(name.as_str(), value.as_bytes());
        }
    }

    let names = assert_files_clean(&project);
    assert!(names.iter().any(|name| name == "evolve.db"), "{names:?}");
    assert!(!names.iter().any(|name| name.contains("core")), "{names:?}");
    let programs = project.sql("select number from program");
    assert!(programs.len() > 3, "{programs:?}");
    let mut looks: Vec<Vec<String>> = vec![vec!["runs".into()], vec!["best".into()], vec!["query".into()]];
    for program in &programs {
        looks.push(vec!["show".into(), program["number"].to_string(), "--prompt".into()]);
        looks.push(vec!["show".into(), program["number"].to_string(), "--prompt".into(), "--json".into()]);
        looks.push(vec!["lineage".into(), program["number"].to_string()]);
    }
    for table in ["run", "proposal", "program", "outcome", "trial", "artifact", "session_end"] {
        let query = format!("select * from {table}");
        assert!(!project.sql(&query).is_empty(), "{table} is empty");
        looks.push(vec!["query".into(), "--sql".into(), query, "--format".into(), "json".into()]);
    }
    looks.push(vec!["doctor".into()]);
    looks.push(vec!["evaluate".into(), "problem/initial.py".into(), "--json".into()]);
    for look in looks {
        let look: Vec<&str> = look.iter().map(String::as_str).collect();
        let output = evolve(&project, &look);
        assert!(output.status.success(), "{look:?}: {}", text(&output.stderr));
        assert_output_clean(&look.join(" "), &output);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_evaluated_program_finds_no_secret_however_it_looks() {
    let server = serve(|n, _| completion(&edit(n))).await;
    let project = project(&format!("{}/v1", server.uri()), "");
    // And whoever started it has left a file open.
    let mut shell = planted(&project, Command::new("sh"));
    shell.args(["-c", "exec 9<home/.netrc; exec \"$0\" run --iterations 3"]).arg(common::evolve());
    shell.current_dir(project.folder.path()).env("TMPDIR", project.path("tmp")).stdin(Stdio::null());
    let output = shell.output().unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    let rows = project.sql("select name, content from artifact");
    let of = |name: &str| -> Vec<String> {
        let named = rows.iter().filter(|row| row["name"] == name);
        named.map(|row| row["content"].as_str().unwrap().to_owned()).collect()
    };
    assert!(of("found").len() >= 3, "{rows:?}");
    for found in of("found") {
        assert_eq!(found, "nothing");
    }
    for environment in of("environment") {
        // A wrapper around python3 may have added some of its own.
        let names: Vec<&str> = environment.lines().collect();
        assert!(["HOME", "LANG", "PATH", "TMPDIR"].iter().all(|name| names.contains(name)), "{names:?}");
        assert!(
            !names
                .iter()
                .any(|name| name.contains("EVOLVE") || name.contains("KEY") || name.contains("RUST")),
            "{names:?}"
        );
    }
    for looked_at in of("looked_at") {
        let looked_at: Value = serde_json::from_str(&looked_at).unwrap();
        assert!(looked_at["environment"] == 1 && looked_at["process"].as_u64() >= Some(1), "{looked_at}");
    }
    let limits = project.sql("select json_extract(metrics, '$.core_limit') as core from trial");
    assert!(limits.len() >= 3 && limits.iter().all(|row| row["core"].as_f64() == Some(0.0)), "{limits:?}");
}

/// An answer's body with the key in it; also given something long.
type Echo = fn(&str, &str) -> String;

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_that_echoes_the_key_gets_it_into_no_message() {
    let pad = |length: usize| "x".repeat(length);
    let bodies: [(&str, u16, Echo); 9] = [
        ("wrong key", 401, |key, _| {
            json!({"error": {"message": format!("Incorrect API key provided: {key}")}}).to_string()
        }),
        ("wrong key, as text", 403, |key, _| format!("no entry for Bearer {key}")),
        ("no such model", 404, |key, _| {
            json!({"error": {"message": format!("model not found for {key}"), "code": key}}).to_string()
        }),
        ("bad request", 400, |key, _| {
            json!({"error": {"message": key, "code": "context_length_exceeded"}}).to_string()
        }),
        ("no money", 402, |key, pad| format!("{pad}{key}")),
        ("busy", 503, |key, pad| json!({"error": format!("{pad} {key}")}).to_string()),
        ("no JSON", 200, |key, pad| format!("{}{key}", &pad[..60])),
        ("a web page", 200, |key, _| format!("<html>{key}</html>")),
        ("a completion without choices", 200, |key, _| {
            json!({"echo": {"authorization": [format!("Bearer {key}")]}}).to_string()
        }),
    ];
    for (name, status, body) in bodies {
        let pad = pad(280);
        let server =
            serve(move |_, request| ResponseTemplate::new(status).set_body_string(body(&key(request), &pad)))
                .await;
        let project = project(&format!("{}/v1", server.uri()), "");
        let output = evolve(&project, &["run", "--iterations", "2", "-vv"]);
        assert!(!server.received_requests().await.unwrap().is_empty(), "{name}: {}", text(&output.stderr));
        assert_output_clean(name, &output);
        assert_files_clean(&project);
    }
}

#[test]
fn a_key_that_yaml_hides_is_not_stored_but_refused() {
    let escaped = WRITTEN_OUT.replace("CANARY", "CAN\\x41RY");
    for written in
        [format!("\"{escaped}\""), format!("\"{}\\\n      {}\"", &WRITTEN_OUT[..20], &WRITTEN_OUT[20..])]
    {
        let project = Project::new("");
        project.write(
            "config.yaml",
            &format!(
                "problem: problem\nproposer: rewrite\nllm:\n  api_key: {written}\n  models: [{{ name: m }}]\n"
            ),
        );
        let words = project.fail(2, &["run"]);
        assert!(words.contains("${NAME}") && !words.contains("sk-full"), "{words}");
        assert!(!project.path("evolve.db").exists());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_whose_key_was_written_out_goes_on_with_the_file_and_says_so_without_it() {
    let server = serve(|n, _| completion(&edit(n))).await;
    let project = project(&format!("{}/v1", server.uri()), "");
    assert!(evolve(&project, &["run", "--iterations", "1"]).status.success());
    let output = evolve(&project, &["resume", "--iterations", "2"]);
    assert!(
        output.status.code() == Some(2) && text(&output.stderr).contains("--config"),
        "{}",
        text(&output.stderr)
    );
    assert_output_clean("resume", &output);
    let output = evolve(&project, &["resume", "--config", "config.yaml", "--iterations", "2"]);
    assert!(output.status.success(), "{}", text(&output.stderr));
}

#[test]
fn neither_a_panic_nor_a_debug_text_of_the_configuration_holds_a_key() {
    use orchestrator::cli::Overrides;
    use orchestrator::config::Config;

    let project = project("http://localhost:1/v1", "");
    let written = std::fs::read_to_string(project.path("config.yaml")).unwrap();
    // This process's environment is not to be changed, so here both keys are written out.
    project.write("config.yaml", &written.replace("${OPENAI_API_KEY}", FROM_VARIABLE));
    let config = Config::read(&project.path("config.yaml"), &Overrides::default()).unwrap();
    assert!(config.llm.as_ref().unwrap().models[0].api_key.as_ref().unwrap().expose() == FROM_VARIABLE);
    assert_clean("the configuration to store", config.text.as_bytes());
    let panic = std::panic::catch_unwind(|| panic!("{config:?}\n{config:#?}")).unwrap_err();
    let message = panic.downcast::<String>().unwrap();
    assert!(message.contains("Secret(..)"), "{message}");
    assert_clean("a panic message", message.as_bytes());
}

#[cfg(target_os = "linux")]
mod linux {
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
    use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
    use std::time::{Duration, Instant};

    use super::*;

    /// `evolve` as an ordinary user, waiting for its configuration from a pipe.
    fn waiting(folder: &Path) -> std::process::Child {
        std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o755)).unwrap();
        // Somewhere that the other user may start it from.
        let program = folder.join("evolve");
        std::fs::copy(common::evolve(), &program).unwrap();
        assert!(
            Command::new("mkfifo")
                .arg("-m")
                .arg("0644")
                .arg(folder.join("config.yaml"))
                .status()
                .unwrap()
                .success()
        );
        let mut shell = Command::new("sh");
        // As far as it is allowed to, this shell wants core files.
        shell.args(["-c", "ulimit -c unlimited; exec ./evolve run"]).current_dir(folder).stdin(Stdio::null());
        shell.env("OPENAI_API_KEY", FROM_VARIABLE).stdout(Stdio::null()).stderr(Stdio::null());
        if std::fs::metadata("/proc/self").unwrap().uid() == 0 {
            shell.uid(12345).gid(12345);
        }
        let child = shell.spawn().unwrap();
        let proc = Path::new("/proc").join(child.id().to_string());
        let started = Instant::now();
        // It has come to the pipe when it sleeps with all its threads there.
        while !std::fs::read_to_string(proc.join("wchan")).unwrap_or_default().contains("fifo_open")
            && !std::fs::read_to_string(proc.join("cmdline")).unwrap_or_default().starts_with("./evolve")
        {
            assert!(started.elapsed() < Duration::from_secs(20), "evolve doesn't start");
            std::thread::sleep(Duration::from_millis(10));
        }
        std::thread::sleep(Duration::from_millis(300));
        child
    }

    #[test]
    fn evolve_leaves_no_core_file_and_other_processes_of_its_user_cannot_look_into_it() {
        let folder = tempfile::tempdir().unwrap();
        let mut child = waiting(folder.path());
        let proc = Path::new("/proc").join(child.id().to_string());
        let limits = std::fs::read_to_string(proc.join("limits")).unwrap();
        let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
        assert_eq!(core.split_whitespace().collect::<Vec<_>>()[4..6], ["0", "0"], "{limits}");
        // The files of a process that others must not look into belong to root.
        for file in ["environ", "mem", "maps"] {
            assert_eq!(std::fs::metadata(proc.join(file)).unwrap().uid(), 0, "{file}");
        }
        assert_ne!(status_uid(&proc), 0, "this shows something for ordinary users only");
        assert!(Command::new("kill").arg("-ABRT").arg(child.id().to_string()).status().unwrap().success());
        let status = child.wait().unwrap();
        assert!(status.signal() == Some(6) && !status.core_dumped(), "{status}");
        let left: Vec<_> =
            std::fs::read_dir(folder.path()).unwrap().flatten().map(|entry| entry.file_name()).collect();
        assert_eq!(left.len(), 2, "{left:?}");
    }

    fn status_uid(proc: &Path) -> u32 {
        let status = std::fs::read_to_string(proc.join("status")).unwrap();
        let uids = status.lines().find_map(|line| line.strip_prefix("Uid:")).unwrap();
        uids.split_whitespace().next().unwrap().parse().unwrap()
    }
}
