//! The model client against servers that misbehave on purpose: what it does, and with how many requests.

#![allow(clippy::unwrap_used, reason = "a test may panic, in its helpers too")]

use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

use orchestrator::prompt::PromptSettings;
use orchestrator::proposer::llm::{LlmProposer, LlmSettings};
use orchestrator::proposer::{
    Exhibit, Guidance, ProblemText, Proposal, Proposer, ProposerError, ProposerErrorKind, Request, Seen,
};
use search::{Language, Outcome, ProgramId};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use wiremock::matchers::{body_partial_json, header, method, path};
use wiremock::{Mock, MockServer, ResponseTemplate};

const PARENT: &str = "// EVOLVE-BLOCK-START\nfn f() -> i32 {\n    1\n}\n// EVOLVE-BLOCK-END\n";
const KEY: &str = "sk-test-0123456789-secret";
const EDIT: &str = "Better.\n<<<<<<< SEARCH\n    1\n=======\n    2\n>>>>>>> REPLACE\n";

fn settings(api_base: &str, more: &str) -> LlmSettings {
    let yaml = format!(
        "api_base: {api_base}\napi_key: {KEY}\nmodels: [{{name: m, price: {{input: 1.0, output: 10.0}}}}]\n\
         retries: 3\nretry_delay: 0.01\ntimeout: 5\n{more}\n"
    );
    serde_yaml::from_str(&yaml).unwrap()
}

fn request(seed: u64) -> Request {
    let problem = Arc::new(ProblemText { name: "p".into(), task: "t".into(), api_reference: None });
    Request::new(ProgramId(1), seed, Language::Rust, problem, Exhibit::new(ProgramId(0), PARENT, None))
}

/// Everything that any crate logs in this process, down to the finest level.
fn log() -> &'static Mutex<Vec<u8>> {
    static LOG: OnceLock<Mutex<Vec<u8>>> = OnceLock::new();
    LOG.get_or_init(|| {
        tracing_subscriber::fmt().with_max_level(tracing::Level::TRACE).with_writer(|| Log).init();
        Mutex::default()
    })
}

struct Log;

impl std::io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        log().lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

async fn propose(settings: &LlmSettings) -> Result<Proposal, ProposerError> {
    log();
    let result =
        LlmProposer::new(settings, true, &PromptSettings::default()).unwrap().propose(request(7)).await;
    let words = match &result {
        Ok(proposal) => format!("{proposal:?}"),
        Err(error) => format!("{error:?} {error} {}", error.hint),
    };
    assert!(!words.contains(KEY), "the key is in {words}");
    let logged = String::from_utf8_lossy(&log().lock().unwrap()).into_owned();
    assert!(!logged.contains(KEY), "the key is in the log");
    result
}

fn answer(text: &str) -> ResponseTemplate {
    ResponseTemplate::new(200).set_body_json(json!({
        "id": "x", "object": "chat.completion", "model": "m",
        "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": text}}],
        "usage": {"prompt_tokens": 1000, "completion_tokens": 200, "total_tokens": 1200}
    }))
}

fn refusal(status: u16, message: &str, code: &str) -> ResponseTemplate {
    ResponseTemplate::new(status)
        .set_body_json(json!({"error": {"message": message, "type": code, "code": code, "param": null}}))
}

/// A server that gives these answers in turn, the last one for ever.
async fn server(answers: Vec<ResponseTemplate>) -> MockServer {
    let server = MockServer::start().await;
    let answers = Mutex::new(answers);
    Mock::given(method("POST"))
        .and(path("/v1/chat/completions"))
        .respond_with(move |_: &wiremock::Request| {
            let mut answers = answers.lock().unwrap();
            if answers.len() > 1 { answers.remove(0) } else { answers[0].clone() }
        })
        .mount(&server)
        .await;
    server
}

fn base(server: &MockServer) -> String {
    format!("{}/v1", server.uri())
}

async fn requests(server: &MockServer) -> usize {
    server.received_requests().await.unwrap().len()
}

#[tokio::test]
async fn a_good_answer_becomes_a_program_with_its_tokens_and_price() {
    let server = MockServer::start().await;
    Mock::given(method("POST"))
        .and(path("/v1/chat/completions"))
        .and(header("authorization", format!("Bearer {KEY}").as_str()))
        .and(body_partial_json(json!({"model": "m", "temperature": 0.7, "top_p": 0.9, "max_tokens": 100})))
        .respond_with(answer(EDIT))
        .expect(1)
        .mount(&server)
        .await;
    let proposal = propose(&settings(&base(&server), "top_p: 0.9\nmax_tokens: 100")).await.unwrap();
    assert_eq!(proposal.change, Ok(PARENT.replace("    1\n", "    2\n")));
    assert_eq!((proposal.tokens_in, proposal.tokens_out, proposal.requests), (Some(1000), Some(200), 1));
    assert!((proposal.cost.unwrap() - 0.003).abs() < 1e-12);
    assert_eq!(
        (proposal.proposer, &*proposal.operator, proposal.model.as_deref()),
        ("llm", "edit", Some("m"))
    );
    assert_eq!(proposal.reply.as_deref(), Some(EDIT));
    let prompt = proposal.prompt.unwrap();
    assert!(prompt.contains("fn f() -> i32"));
    let body: Value = server.received_requests().await.unwrap()[0].body_json().unwrap();
    assert!(prompt.contains(body["messages"][1]["content"].as_str().unwrap()));
}

#[tokio::test]
async fn an_edit_that_misses_is_an_outcome_with_its_reply_kept() {
    let reply = EDIT.replace("    1\n", "    7\n");
    let server = server(vec![answer(&reply)]).await;
    let proposal = propose(&settings(&base(&server), "")).await.unwrap();
    assert!(matches!(proposal.change, Err(Outcome::Patch { .. })), "{:?}", proposal.change);
    assert_eq!((proposal.reply.as_deref(), proposal.requests), (Some(&*reply), 1));
    assert!(proposal.prompt.is_some() && proposal.cost.is_some());
}

#[tokio::test]
async fn what_no_retry_mends_stops_the_run_after_one_request() {
    for (answer, kind) in [
        (
            refusal(401, &format!("Incorrect API key provided: {KEY}"), "invalid_api_key"),
            ProposerErrorKind::WrongKey,
        ),
        (ResponseTemplate::new(403).set_body_string("<html>no</html>"), ProposerErrorKind::WrongKey),
        (refusal(402, "Insufficient balance", "payment"), ProposerErrorKind::OutOfMoney),
        (
            refusal(429, "You exceeded your current quota", "insufficient_quota"),
            ProposerErrorKind::OutOfMoney,
        ),
        (refusal(404, "The model `m` does not exist", "model_not_found"), ProposerErrorKind::NotFound),
        (ResponseTemplate::new(404).set_body_string("404 page not found"), ProposerErrorKind::NotFound),
    ] {
        let server = server(vec![answer]).await;
        let error = propose(&settings(&base(&server), "")).await.unwrap_err();
        assert_eq!(error.kind, kind, "{error:?}");
        assert!(!error.hint.is_empty());
        assert_eq!(requests(&server).await, 1);
    }
}

#[tokio::test]
async fn a_wrong_base_url_says_so() {
    let server = server(vec![answer(EDIT)]).await;
    let error = propose(&settings(&server.uri(), "")).await.unwrap_err();
    assert_eq!(error.kind, ProposerErrorKind::NotFound);
    assert!(error.what.contains("/chat/completions") && error.hint.contains("/v1"), "{error:?}");
}

#[tokio::test]
async fn retry_after_is_waited_for() {
    let busy = refusal(429, "slow down", "rate_limit_exceeded");
    let server = server(vec![busy.clone().insert_header("retry-after", "1"), busy, answer(EDIT)]).await;
    let started = Instant::now();
    let proposal = propose(&settings(&base(&server), "")).await.unwrap();
    assert!(proposal.change.is_ok());
    assert_eq!((proposal.requests, requests(&server).await), (3, 3));
    assert!(started.elapsed() >= Duration::from_secs(1) && proposal.latency >= Duration::from_secs(1));
}

#[tokio::test]
async fn server_errors_are_retried_and_then_it_goes_on() {
    let answers = vec![
        ResponseTemplate::new(500).set_body_string("oops"),
        ResponseTemplate::new(502).set_body_string("<html><body>Bad gateway</body></html>"),
        ResponseTemplate::new(503),
        answer(EDIT),
    ];
    let server = server(answers).await;
    let proposal = propose(&settings(&base(&server), "")).await.unwrap();
    assert!(proposal.change.is_ok());
    assert_eq!((proposal.requests, requests(&server).await), (4, 4));
    // So the search for the key in the log isn't one in an empty log.
    assert!(String::from_utf8_lossy(&log().lock().unwrap()).contains("trying again"));
}

#[tokio::test]
async fn three_retries_are_four_requests_and_who_never_answers_stops_the_run() {
    for body in ["oops", "<html>"] {
        let server = server(vec![ResponseTemplate::new(500).set_body_string(body)]).await;
        let error = propose(&settings(&base(&server), "")).await.unwrap_err();
        assert_eq!((error.kind, requests(&server).await), (ProposerErrorKind::Unreachable, 4));
        assert!(error.what.contains("4 requests") && error.what.contains("HTTP 500"), "{error:?}");
    }
}

#[tokio::test]
async fn no_retries_is_one_request() {
    let server = server(vec![ResponseTemplate::new(500)]).await;
    propose(&settings(&base(&server), "").with_retries(0)).await.unwrap_err();
    assert_eq!(requests(&server).await, 1);
}

#[tokio::test]
async fn a_prompt_that_is_too_long_is_not_sent_again() {
    let server =
        server(vec![refusal(400, "maximum context length is 8192 tokens", "context_length_exceeded")]).await;
    let proposal = propose(&settings(&base(&server), "")).await.unwrap();
    let Err(Outcome::NoProposal { reason }) = proposal.change else { panic!("{:?}", proposal.change) };
    assert!(reason.contains("8192"), "{reason}");
    assert_eq!(requests(&server).await, 1);
}

#[tokio::test]
async fn garbage_is_retried_and_never_a_program() {
    for garbage in ["", "not json", "<html>", "{\"choices\": [", "\u{0}\u{1}"] {
        let server = server(vec![ResponseTemplate::new(200).set_body_string(garbage)]).await;
        let error = propose(&settings(&base(&server), "")).await.unwrap_err();
        assert!(error.what.contains("not JSON"), "{garbage}: {error:?}");
        assert_eq!((error.kind, requests(&server).await), (ProposerErrorKind::Unreachable, 4), "{garbage}");
    }
    // JSON without an answer was paid for: it is kept, and not asked for again.
    for body in
        [json!({}), json!({"choices": []}), json!([1]), json!({"choices": [{"message": {"content": null}}]})]
    {
        let server = server(vec![ResponseTemplate::new(200).set_body_json(&body)]).await;
        let proposal = propose(&settings(&base(&server), "")).await.unwrap();
        assert!(matches!(proposal.change, Err(Outcome::NoProposal { .. })), "{body}: {:?}", proposal.change);
        assert_eq!((requests(&server).await, proposal.reply), (1, Some(body.to_string())));
    }
}

#[tokio::test]
async fn a_reply_cut_off_by_max_tokens_is_explained() {
    let body = json!({
        "choices": [{"finish_reason": "length", "message": {"content": "<<<<<<< SEARCH\n    1\n=====", "reasoning_content": "..."}}],
        "usage": {"prompt_tokens": 5, "completion_tokens": 100}
    });
    let server = server(vec![ResponseTemplate::new(200).set_body_json(body)]).await;
    let proposal = propose(&settings(&base(&server), "")).await.unwrap();
    let Err(Outcome::NoProposal { reason }) = proposal.change else { panic!("{:?}", proposal.change) };
    assert!(reason.contains("max_tokens"), "{reason}");
    assert_eq!(proposal.tokens_out, Some(100));
}

#[tokio::test]
async fn a_stalled_answer_times_out_and_is_tried_again() {
    let server = server(vec![answer(EDIT).set_delay(Duration::from_secs(30)), answer(EDIT)]).await;
    let proposal = propose(&settings(&base(&server), "").with_timeout(0.4)).await.unwrap();
    assert!(proposal.change.is_ok());
    assert_eq!(proposal.requests, 2);
}

#[tokio::test]
async fn a_server_that_never_answers_stops_the_run() {
    let server = server(vec![answer(EDIT).set_delay(Duration::from_secs(30))]).await;
    let started = Instant::now();
    let error = propose(&settings(&base(&server), "").with_timeout(0.3)).await.unwrap_err();
    assert!(error.what.contains("no answer within") && error.what.contains("4 requests"), "{error:?}");
    assert!(error.hint.contains("timeout"), "{error:?}");
    assert!(started.elapsed() < Duration::from_secs(10));
    assert_eq!(requests(&server).await, 4);
}

#[tokio::test]
async fn nobody_at_the_address_stops_the_run_after_all_retries() {
    let port = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
    let error = propose(&settings(&format!("http://127.0.0.1:{port}/v1"), "")).await.unwrap_err();
    assert_eq!(error.kind, ProposerErrorKind::Unreachable);
    assert!(error.what.contains("4 requests") && error.what.contains(&port.to_string()), "{error:?}");
}

/// Accepts connections and does `play` with each, counting them.
async fn raw_server(reply: &'static [u8], drip: bool) -> (String, Arc<Mutex<u32>>) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}/v1", listener.local_addr().unwrap());
    let count = Arc::new(Mutex::new(0));
    let counter = count.clone();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            *counter.lock().unwrap() += 1;
            tokio::spawn(async move {
                let _ = stream.read(&mut [0; 4096]).await;
                if drip {
                    for byte in reply.iter().cycle() {
                        if stream.write_all(&[*byte]).await.is_err() {
                            break;
                        }
                        tokio::time::sleep(Duration::from_millis(20)).await;
                    }
                } else {
                    let _ = stream.write_all(reply).await;
                }
            });
        }
    });
    (address, count)
}

#[tokio::test]
async fn broken_connections_are_retried_and_then_stop_the_run() {
    for reply in
        [&b""[..], b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n{\"choices\"", b"nonsense\r\n\r\n"]
    {
        let (address, count) = raw_server(reply, false).await;
        let error = propose(&settings(&address, "")).await.unwrap_err();
        assert_eq!((error.kind, *count.lock().unwrap()), (ProposerErrorKind::Unreachable, 4), "{error:?}");
    }
}

#[tokio::test]
async fn an_answer_that_drips_is_ended_by_the_timeout() {
    let (address, count) =
        raw_server(b"HTTP/1.1 200 OK\r\n\r\n                                            ", true).await;
    let started = Instant::now();
    // Not even its headers are through by then.
    let error = propose(&settings(&address, "").with_timeout(0.3)).await.unwrap_err();
    assert_eq!((error.kind, *count.lock().unwrap()), (ProposerErrorKind::Unreachable, 4), "{error:?}");
    assert!(started.elapsed() < Duration::from_secs(10));
}

#[tokio::test]
async fn the_ensemble_is_drawn_by_weight_and_by_the_seed_alone() {
    let server = server(vec![answer(EDIT)]).await;
    let mut settings = settings(&base(&server), "");
    settings.models =
        serde_yaml::from_str("[{name: a, weight: 3}, {name: b, weight: 1}, {name: c, weight: 0}]").unwrap();
    let proposer = LlmProposer::new(&settings, true, &PromptSettings::default()).unwrap();
    let mut models = Vec::new();
    for seed in 0..120 {
        models.push(proposer.propose(request(seed)).await.unwrap().model.unwrap());
    }
    let count = |name: &str| models.iter().filter(|model| *model == name).count();
    assert!((70..=110).contains(&count("a")) && count("c") == 0, "{models:?}");
    for seed in [3, 77] {
        assert_eq!(
            proposer.propose(request(seed)).await.unwrap().model.as_ref(),
            Some(&models[seed as usize])
        );
    }
}

#[tokio::test]
async fn no_more_requests_are_under_way_than_allowed() {
    let server = server(vec![answer(EDIT).set_delay(Duration::from_millis(200))]).await;
    let proposer =
        LlmProposer::new(&settings(&base(&server), "concurrency: 2"), true, &PromptSettings::default())
            .unwrap();
    let started = Instant::now();
    futures::future::join_all((0..6).map(|seed| proposer.propose(request(seed)))).await;
    let elapsed = started.elapsed();
    assert!(elapsed >= Duration::from_millis(580), "{elapsed:?}");
    assert_eq!(requests(&server).await, 6);
}

trait With {
    fn with_retries(self, retries: u32) -> Self;
    fn with_timeout(self, seconds: f64) -> Self;
}

impl With for LlmSettings {
    fn with_retries(self, retries: u32) -> Self {
        Self { retries, ..self }
    }

    fn with_timeout(self, seconds: f64) -> Self {
        Self { timeout: seconds, ..self }
    }
}

#[tokio::test]
async fn what_was_proposed_before_is_asked_for_again_with_the_reason_and_within_bounds() {
    let server = server(vec![answer(EDIT)]).await;
    let proposer = LlmProposer::new(&settings(&base(&server), ""), true, &PromptSettings::default()).unwrap();
    let near = Outcome::NearDuplicate { of: ProgramId(5), similarity: 0.97 };
    let seen = Seen::refusing(move |_| Some(near.clone()));
    for retries in [0, 2] {
        let before = server.received_requests().await.unwrap().len();
        let guidance = Guidance { retries, ..Guidance::default() };
        let request = Request { seen: seen.clone(), guidance, ..request(7) };
        let proposal = proposer.propose(request).await.unwrap();
        let requests = server.received_requests().await.unwrap().split_off(before);
        assert_eq!((requests.len(), proposal.requests), (1 + retries as usize, 1 + retries));
        assert_eq!(proposal.tokens_in, Some(1000 * (1 + u64::from(retries))), "all calls are on the row");
        assert!(proposal.change.is_ok(), "what is still too near is refused at admission");
        let told = String::from_utf8_lossy(&requests.last().unwrap().body).contains("97 % like program 5");
        assert_eq!(told, retries > 0);
        let kept = proposal.reply.unwrap().matches("Better.").count();
        assert_eq!(kept, 1 + retries as usize, "no reply that was paid for is lost");
    }
}

#[tokio::test]
async fn search_may_name_model_and_operator_and_ask_for_more() {
    let server = server(vec![answer("```rust\nfn f() -> i32 {\n    3\n}\n```")]).await;
    let more = "models: [{name: a}, {name: b}]\ntemperature: 0.7";
    let yaml = format!("api_base: {}\napi_key: {KEY}\nretries: 0\n{more}\n", base(&server));
    let proposer =
        LlmProposer::new(&serde_yaml::from_str(&yaml).unwrap(), true, &PromptSettings::default()).unwrap();
    for model in ["a", "b"] {
        let guidance = Guidance {
            operator: Some("full_rewrite".into()),
            model: Some(model.into()),
            widening: 2,
            ..Guidance::default()
        };
        let proposal = proposer.propose(Request { guidance, ..request(7) }).await.unwrap();
        assert_eq!((proposal.model.as_deref(), proposal.operator.as_str()), (Some(model), "full_rewrite"));
        assert!(proposal.change.unwrap().contains("    3\n"));
        assert!(proposal.prompt.unwrap().contains("Take another approach"));
        let body: Value = server.received_requests().await.unwrap().last().unwrap().body_json().unwrap();
        assert!((body["temperature"].as_f64().unwrap() - 0.9).abs() < 1e-9);
    }
}
