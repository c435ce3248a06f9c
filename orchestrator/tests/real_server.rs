//! A whole run against a server for language models that nobody here wrote: `mlx_lm.server`, with a tiny random model whose answers are
//! garbage. `make test-full` names its Python in `EVOLVE_MLX_LM_PYTHON`.
#![allow(clippy::unwrap_used, reason = "a panic is a test's failure")]

mod common;

use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use common::Project;

/// Killed with the test, however that ends.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

fn serve(python: &str, model: &Path, port: u16) -> Server {
    let mut command = Command::new(python);
    command.args([
        "-m",
        "mlx_lm",
        "server",
        "--log-level",
        "ERROR",
        "--host",
        "127.0.0.1",
        "--port",
        &port.to_string(),
        "--model",
    ]);
    let child = command.arg(model).env("HF_HUB_OFFLINE", "1").stdout(Stdio::null()).spawn().unwrap();
    let mut server = Server(child);
    let started = Instant::now();
    while TcpStream::connect(("127.0.0.1", port)).is_err() {
        let ended = server.0.try_wait().unwrap();
        assert!(ended.is_none() && started.elapsed() < Duration::from_secs(120), "no server: {ended:?}");
        std::thread::sleep(Duration::from_millis(100));
    }
    server
}

#[test]
fn a_run_against_mlx_lms_own_server_ends_well_and_classifies_its_garbage() {
    let Ok(python) = std::env::var("EVOLVE_MLX_LM_PYTHON") else {
        eprintln!("skipped: EVOLVE_MLX_LM_PYTHON names no Python with mlx-lm (make test-full sets it up)");
        return;
    };
    let models = tempfile::tempdir().unwrap();
    let model = models.path().join("tiny");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/tiny_model.py");
    let made = Command::new(&python).arg(script).arg(&model).status().unwrap();
    assert!(made.success(), "no model was made");
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let _server = serve(&python, &model, port);

    for stream in [true, false] {
        let project = Project::new("");
        project.write(
            "config.yaml",
            &format!(
                "problem: problem\nproposer: llm\nmax_iterations: 6\nlessons: {{ every: 0 }}\nllm:\n  api_base: http://127.0.0.1:{port}/v1\n  \
                 api_key: none\n  stream: {stream}\n  max_tokens: 48\n  models: [{{ name: {} }}]\n",
                model.display()
            ),
        );
        project.succeed(&["run"]);
        let rows = project.sql(
            "select kind, reply, tokens_in, tokens_out, requests, model from proposals where number > 0 order by number",
        );
        assert_eq!(rows.len(), 6, "{rows:?}");
        for row in &rows {
            assert!(["patch", "no_proposal"].contains(&row["kind"].as_str().unwrap()), "{row}");
            assert!(row["tokens_in"].as_u64() > Some(100), "{row}");
            assert!((1..=48).contains(&row["tokens_out"].as_u64().unwrap()), "{row}");
            assert_eq!(row["requests"], 1, "{row}");
        }
        let answered = rows.iter().filter(|row| row["reply"].as_str().is_some_and(|reply| !reply.is_empty()));
        assert!(answered.count() > 0, "every answer was empty: {rows:?}");
    }
}
