//! The model client where more than one answer matters: streams, several models, endpoints that go away for a while, budgets,
//! proxies, recordings. The server is a real one; only what it says is made up.

#![allow(clippy::unwrap_used, reason = "a test may panic, in its helpers too")]

mod common;

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use common::endpoint::{Act, Asked, Endpoint, completion, error, event, json_response, response};
use common::endpoint::{stream_end, stream_of, streamed};
use orchestrator::event::{Event, Events};
use orchestrator::prompt::PromptSettings;
use orchestrator::proposer::llm::{LlmProposer, LlmSettings, RunContext, Spent};
use orchestrator::proposer::replay::{Header, Recorder, Recording};
use orchestrator::proposer::{
    Exhibit, Guidance, ProblemText, Proposal, Proposer, ProposerError, ProposerErrorKind, Request, Seen,
};
use search::{Language, Outcome, ProgramId};
use serde_json::json;
use tokio::sync::broadcast::Receiver;

const PARENT: &str = "// EVOLVE-BLOCK-START\nfn f() -> i32 {\n    1\n}\n// EVOLVE-BLOCK-END\n";
const EDIT: &str = "Better.\n<<<<<<< SEARCH\n    1\n=======\n    2\n>>>>>>> REPLACE\n";

fn request(number: u64) -> Request {
    let problem = Arc::new(ProblemText { name: "p".into(), task: "t".into(), api_reference: None });
    let parent = Exhibit::new(ProgramId(0), PARENT, None);
    Request::new(ProgramId(number), number, Language::Rust, problem, parent)
}

/// A proposer in a run, and what the run hears of it.
struct Client {
    proposer: Arc<LlmProposer>,
    context: RunContext,
    heard: Mutex<Receiver<Event>>,
}

impl Client {
    /// `yaml` is the `llm` section but for what makes tests short.
    fn new(yaml: &str) -> Self {
        Self::within(yaml, RunContext::default())
    }

    fn within(yaml: &str, context: RunContext) -> Self {
        // What the text says itself goes before.
        let short = ["retries: 2", "retry_delay: 0.01", "timeout: 5", "idle_timeout: 0.4"];
        let key = |line: &str| line.split_once(':').map(|(key, _)| key.to_owned());
        let short = short.into_iter().filter(|line| !yaml.lines().any(|own| key(own) == key(line)));
        let settings = short.chain(yaml.lines()).collect::<Vec<_>>().join("\n");
        let settings: LlmSettings = serde_yaml::from_str(&settings).unwrap();
        let events = Events::default();
        let heard = Mutex::new(events.subscribe());
        let context = RunContext { events, ..context };
        let proposer =
            LlmProposer::new(&settings, true, &PromptSettings::default()).unwrap().within(context.clone());
        Self { proposer: Arc::new(proposer), context, heard }
    }

    async fn propose(&self, number: u64) -> Result<Proposal, ProposerError> {
        self.proposer.propose(request(number)).await
    }

    /// Warnings so far.
    fn warnings(&self) -> Vec<String> {
        let mut heard = self.heard.lock().unwrap();
        std::iter::from_fn(|| heard.try_recv().ok())
            .filter_map(|event| match event {
                Event::Warning { message } => Some(message),
                _ => None,
            })
            .collect()
    }
}

fn one_model(endpoint: &Endpoint, more: &str) -> String {
    format!("api_base: {}\nmodels: [{{name: m, price: {{input: 1, output: 10}}}}]\n{more}", endpoint.base)
}

fn reason(proposal: &Proposal) -> &str {
    match &proposal.change {
        Err(Outcome::NoProposal { reason }) => reason,
        other => panic!("{other:?}"),
    }
}

// Streams

#[tokio::test]
async fn a_streamed_answer_is_an_answer_like_any_other() {
    let endpoint = Endpoint::start(|_, _| streamed(EDIT));
    let proposal = Client::new(&one_model(&endpoint, "")).propose(1).await.unwrap();
    assert_eq!(proposal.change, Ok(PARENT.replace("    1\n", "    2\n")));
    assert_eq!((proposal.reply.as_deref(), proposal.requests), (Some(EDIT), 1));
    assert_eq!((proposal.tokens_in, proposal.tokens_out), (Some(100), Some(20)));
    let body = &endpoint.asked()[0].body;
    assert_eq!((&body["stream"], &body["stream_options"]), (&json!(true), &json!({"include_usage": true})));
    let plain = Client::new(&one_model(&endpoint, "stream: false"));
    plain.propose(2).await.unwrap();
    assert_eq!(endpoint.asked()[1].body.get("stream"), None);
}

#[tokio::test]
async fn an_endpoint_that_does_not_stream_is_asked_for_the_whole_once_and_for_all_and_within_the_retries() {
    let refuse = |asked: &Asked| {
        if asked.body.get("stream_options").is_some() {
            Some(error(
                400,
                "Unrecognized request argument supplied: stream_options",
                "invalid_request_error",
            ))
        } else if asked.body.get("stream").is_some() {
            Some(error(422, "streaming is not supported", "unsupported"))
        } else {
            None
        }
    };
    let endpoint = Endpoint::start(move |_, asked| refuse(asked).unwrap_or_else(|| completion(EDIT)));
    let client = Client::new(&one_model(&endpoint, ""));
    let proposal = client.propose(1).await.unwrap();
    assert_eq!((proposal.change.is_ok(), proposal.requests, endpoint.count()), (true, 3, 3));
    let proposal = client.propose(2).await.unwrap();
    assert_eq!((proposal.requests, endpoint.count()), (1, 4), "it is remembered");
    // Without retries there is one request for a prompt, and no more.
    let strict = Client::new(&one_model(&endpoint, "retries: 0"));
    for (number, answered) in [(1, false), (2, false), (3, true)] {
        let proposal = strict.propose(number).await.unwrap();
        assert_eq!((proposal.requests, proposal.change.is_ok()), (1, answered), "{proposal:?}");
    }
}

#[tokio::test]
async fn a_stalled_answer_is_noticed_asked_for_again_and_its_beginning_kept() {
    let endpoint = Endpoint::start(|n, _| match n {
        0 => Act::SendAndHang(stream_of("I begin with ")),
        _ => streamed(EDIT),
    });
    let started = Instant::now();
    let proposal = Client::new(&one_model(&endpoint, "")).propose(1).await.unwrap();
    assert!(proposal.change.is_ok());
    assert!(started.elapsed() < Duration::from_secs(4), "long before the timeout");
    assert_eq!((proposal.requests, endpoint.count()), (2, 2));
    let reply = proposal.reply.unwrap();
    assert!(reply.starts_with("I begin with ") && reply.ends_with(EDIT), "{reply}");
    assert!(proposal.tokens_estimated && proposal.tokens_in > Some(100), "the stalled one was paid for, too");
}

#[tokio::test]
async fn an_answer_that_always_stalls_is_no_proposal_once_the_endpoint_has_shown_that_it_works() {
    let endpoint = Endpoint::start(|n, asked| {
        let is_second = asked.body.to_string().contains("another") || n > 0;
        if is_second { Act::SendAndHang(stream_of("half an answer")) } else { streamed(EDIT) }
    });
    let client = Client::new(&one_model(&endpoint, "idle_timeout: 0.1\noutage_patience: 0"));
    client.propose(1).await.unwrap();
    // With nobody else answered meanwhile it is the endpoint's fault: the run stops, the number isn't used up.
    let error = client.propose(2).await.unwrap_err();
    assert_eq!((error.kind, endpoint.count()), (ProposerErrorKind::Unreachable, 4));
    assert!(error.what.contains("stalled"), "{error:?}");
}

#[tokio::test]
async fn a_slow_answer_may_take_the_whole_timeout_and_no_longer() {
    let head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n".to_vec();
    let drop = event(&json!({"choices": [{"delta": {"content": "x"}}]}));
    let endpoint = Endpoint::start(move |_, _| Act::Drip(head.clone(), drop.clone()));
    let started = Instant::now();
    let client = Client::new(&one_model(&endpoint, "timeout: 0.3\nretries: 1"));
    let proposal = client.propose(1).await.unwrap();
    assert!(started.elapsed() < Duration::from_secs(4));
    assert!(reason(&proposal).contains("no complete answer within"), "{proposal:?}");
    assert_eq!((proposal.requests, endpoint.count()), (2, 2));
    assert!(proposal.reply.unwrap().starts_with("xx"), "what came is kept");
    assert!(proposal.tokens_out > Some(0) && proposal.tokens_estimated);
}

#[tokio::test]
async fn a_thinking_model_may_be_silent_until_its_answer_begins() {
    let head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n".to_vec();
    let role = event(&json!({"choices": [{"delta": {"role": "assistant", "content": ""}}]}));
    let text = event(&json!({"choices": [{"delta": {"content": EDIT}}]}));
    let endpoint = Endpoint::start(move |_, _| {
        let pause = Duration::from_millis(600);
        Act::Send(vec![
            (Duration::ZERO, [head.clone(), role.clone()].concat()),
            (pause, text.clone()),
            (Duration::ZERO, stream_end()),
        ])
    });
    let proposal = Client::new(&one_model(&endpoint, "idle_timeout: 0.2")).propose(1).await.unwrap();
    assert_eq!((proposal.change.is_ok(), proposal.requests), (true, 1));
}

#[tokio::test]
async fn errors_inside_a_stream_or_a_success_are_what_their_code_says() {
    let in_stream = |code: u16| {
        let head =
            b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n".to_vec();
        let error = event(&json!({"error": {"message": "no credit", "code": code}}));
        Act::Send(vec![(Duration::ZERO, [head, error].concat())])
    };
    for (act, kind) in [
        (in_stream(401), ProposerErrorKind::WrongKey),
        (in_stream(402), ProposerErrorKind::OutOfMoney),
        (
            json_response(200, &json!({"error": {"message": "no credit", "code": 402}})),
            ProposerErrorKind::OutOfMoney,
        ),
    ] {
        let endpoint = Endpoint::start(move |_, _| act.clone());
        let error = Client::new(&one_model(&endpoint, "")).propose(1).await.unwrap_err();
        assert_eq!((error.kind, endpoint.count()), (kind, 1), "{error:?}");
    }
    let endpoint = Endpoint::start(move |n, _| if n == 0 { in_stream(429) } else { streamed(EDIT) });
    let proposal = Client::new(&one_model(&endpoint, "")).propose(1).await.unwrap();
    assert_eq!((proposal.change.is_ok(), proposal.requests), (true, 2));
}

#[tokio::test]
async fn a_reply_of_megabytes_or_of_bytes_that_are_no_text_is_read_as_far_as_it_makes_sense() {
    let large = format!("{}\n{EDIT}", "word ".repeat(420_000));
    assert!(large.len() > 2_000_000);
    let whole = large.clone();
    let endpoint = Endpoint::start(move |n, _| match n {
        0 => streamed(&whole),
        1 => completion(&whole),
        2 => response(
            200,
            &["content-type: application/json"],
            [
                &b"{\"choices\": [{\"message\": {\"content\": \"\xff\xfe "[..],
                &serde_json::to_vec(EDIT).unwrap()[1..],
                b"}}]}",
            ]
            .concat(),
        ),
        _ => streamed(&"x ".repeat(3_000_000)),
    });
    let client = Client::new(&one_model(&endpoint, "timeout: 60"));
    for number in 1..=3 {
        let proposal = client.propose(number).await.unwrap();
        assert_eq!((proposal.change.is_ok(), proposal.requests), (true, 1), "{number}");
    }
    let proposal = client.propose(4).await.unwrap();
    assert!(reason(&proposal).contains("longer than"), "{:?}", reason(&proposal));
    assert_eq!(proposal.requests, 1, "another request would bring as much again");
    assert!(proposal.reply.unwrap().len() <= 5_000_000);
}

#[tokio::test]
async fn tokens_that_an_endpoint_does_not_count_are_estimated_and_marked() {
    let endpoint =
        Endpoint::start(|_, _| json_response(200, &json!({"choices": [{"message": {"content": EDIT}}]})));
    let proposal = Client::new(&one_model(&endpoint, "")).propose(1).await.unwrap();
    assert!(
        proposal.tokens_estimated && proposal.tokens_out == Some(EDIT.len().div_ceil(4) as u64),
        "{proposal:?}"
    );
    assert!(proposal.cost > Some(0.0));
    let usage = json!({
        "prompt_tokens": 1000, "completion_tokens": 500, "prompt_tokens_details": {"cached_tokens": 800},
        "completion_tokens_details": {"reasoning_tokens": 400}
    });
    let body = json!({"choices": [{"message": {"content": EDIT}}], "usage": usage});
    let endpoint = Endpoint::start(move |_, _| json_response(200, &body));
    let yaml = format!(
        "api_base: {}\nmodels: [{{name: m, price: {{input: 1, cached_input: 0.1, output: 10}}}}]",
        endpoint.base
    );
    let proposal = Client::new(&yaml).propose(1).await.unwrap();
    assert_eq!((proposal.tokens_cached, proposal.tokens_reasoning), (Some(800), Some(400)));
    assert!(!proposal.tokens_estimated);
    assert!((proposal.cost.unwrap() - (200.0 + 80.0 + 5000.0) * 1e-6).abs() < 1e-12);
}

// What is sent

#[tokio::test]
async fn each_model_is_sent_its_own_settings() {
    let endpoint = Endpoint::start(|_, _| completion(EDIT));
    let yaml = format!(
        "api_base: {}\ntemperature: 0.7\nmax_tokens: 100\nextra_body: {{top_k: 40}}\nmodels:\n\
         - {{name: a, temperature: null, max_tokens: null, reasoning_effort: low, seed: 7, extra_body: {{max_completion_tokens: 50}}}}\n\
         - {{name: b, top_p: 0.5, seed: auto, extra_body: {{top_k: null, user: me}}}}",
        endpoint.base
    );
    let client = Client::new(&yaml);
    for (number, model) in [(1, "a"), (2, "b"), (3, "b"), (3, "b")] {
        let guidance = Guidance { model: Some(model.into()), ..Guidance::default() };
        client.proposer.propose(Request { guidance, ..request(number) }).await.unwrap();
    }
    let bodies: Vec<_> = endpoint.asked().into_iter().map(|asked| asked.body).collect();
    let a = &bodies[0];
    assert_eq!((a.get("temperature"), a.get("max_tokens")), (None, None));
    assert_eq!((&a["reasoning_effort"], &a["seed"], &a["top_k"]), (&json!("low"), &json!(7), &json!(40)));
    assert_eq!(a["max_completion_tokens"], 50);
    let b = &bodies[1];
    assert_eq!((&b["temperature"], &b["max_tokens"], &b["top_p"]), (&json!(0.7), &json!(100), &json!(0.5)));
    assert_eq!((b.get("top_k"), &b["user"]), (None, &json!("me")));
    assert!(b["seed"].is_u64() && b["seed"] != bodies[2]["seed"], "{} {}", b["seed"], bodies[2]["seed"]);
    assert_eq!(bodies[2]["seed"], bodies[3]["seed"], "the same proposal has the same seed");
}

#[tokio::test]
async fn requests_under_way_are_limited_for_each_endpoint_and_each_model() {
    let slow = |most: Arc<Mutex<(usize, usize)>>| {
        move |_: usize, _: &Asked| {
            let mut now = most.lock().unwrap();
            now.0 += 1;
            now.1 = now.1.max(now.0);
            drop(now);
            std::thread::sleep(Duration::from_millis(60));
            most.lock().unwrap().0 -= 1;
            completion(EDIT)
        }
    };
    let (one, two) = (Arc::new(Mutex::new((0, 0))), Arc::new(Mutex::new((0, 0))));
    let (first, second) = (Endpoint::start(slow(one.clone())), Endpoint::start(slow(two.clone())));
    let yaml = format!(
        "concurrency: 3\nmodels:\n- {{name: a, api_base: {}}}\n- {{name: b, api_base: {}, concurrency: 1}}",
        first.base, second.base
    );
    let client = Client::new(&yaml);
    let ask = |number: u64, model: &str| {
        let guidance = Guidance { model: Some(model.into()), ..Guidance::default() };
        client.proposer.propose(Request { guidance, ..request(number) })
    };
    let asked = (0..8).map(|n| ask(n, if n % 2 == 0 { "a" } else { "b" }));
    assert!(futures::future::join_all(asked).await.iter().all(Result::is_ok));
    assert_eq!((one.lock().unwrap().1, two.lock().unwrap().1), (3, 1));
}

// Several models

#[tokio::test]
async fn a_broken_endpoint_is_taken_out_once_and_the_others_go_on() {
    let good = Endpoint::start(|_, _| completion(EDIT));
    for (refusal, kind) in [
        (error(401, "Incorrect API key provided", "invalid_api_key"), "WrongKey"),
        (error(402, "Insufficient balance", "payment"), "OutOfMoney"),
        (error(404, "The model `a` does not exist", "model_not_found"), "NotFound"),
    ] {
        let broken = Endpoint::start(move |_, _| refusal.clone());
        let yaml = format!(
            "models:\n- {{name: a, weight: 5, api_base: {}, api_key: sk-one-key}}\n- {{name: b, api_base: {}}}",
            broken.base, good.base
        );
        let client = Client::new(&yaml);
        let before = good.count();
        for number in 1..=6 {
            let proposal = client.propose(number).await.unwrap();
            assert!(
                proposal.change.is_ok() && proposal.model.as_deref() == Some("b"),
                "{kind}: {proposal:?}"
            );
        }
        assert_eq!((broken.count(), good.count() - before), (1, 6), "{kind}");
        let warnings = client.warnings();
        assert!(warnings.len() == 1 && warnings[0].contains("others go on"), "{warnings:?}");
        // Search may still name it.
        let guidance = Guidance { model: Some("a".into()), ..Guidance::default() };
        let proposal = client.proposer.propose(Request { guidance, ..request(9) }).await.unwrap();
        assert_eq!((proposal.model.as_deref(), broken.count()), (Some("b"), 1));
    }
}

#[tokio::test]
async fn a_wrong_key_takes_out_all_models_of_the_account_and_a_wrong_name_only_its_own() {
    let endpoint = Endpoint::start(|_, asked| {
        if asked.head.contains("sk-wrong") {
            error(401, "no", "invalid_api_key")
        } else if asked.body["model"] == "typo" {
            error(404, "model not found", "model_not_found")
        } else {
            completion(EDIT)
        }
    });
    let base = &endpoint.base;
    let yaml = format!(
        "api_base: {base}\nmodels:\n- {{name: x, api_key: sk-wrong-key}}\n- {{name: y, api_key: sk-wrong-key}}\n\
         - {{name: typo, api_key: sk-right-key}}\n- {{name: good, api_key: sk-right-key}}"
    );
    let client = Client::new(&yaml);
    for number in 1..=12 {
        assert_eq!(client.propose(number).await.unwrap().model.as_deref(), Some("good"));
    }
    let asked = endpoint.asked();
    let count = |what: &str| asked.iter().filter(|asked| asked.head.contains(what)).count();
    assert_eq!(count("sk-wrong-key"), 1);
    assert_eq!(asked.iter().filter(|asked| asked.body["model"] == "typo").count(), 1);
}

#[tokio::test]
async fn when_nobody_is_left_the_run_stops_with_every_reason() {
    let endpoint = Endpoint::start(|_, asked| {
        if asked.body["model"] == "a" {
            error(404, "no model a", "model_not_found")
        } else {
            error(402, "no credit", "x")
        }
    });
    let models = "[{name: a, api_key: sk-key-of-a}, {name: b, api_key: sk-key-of-b}]";
    let client = Client::new(&format!("api_base: {}\nmodels: {models}", endpoint.base));
    let error = loop {
        // Whichever is asked first, the other one is asked then.
        if let Err(error) = client.propose(1).await {
            break error;
        }
    };
    assert!(error.what.contains("no model is left"), "{error:?}");
    assert!(error.what.contains("no model a") && error.what.contains("no credit"), "{error:?}");
    let again = client.propose(2).await.unwrap_err();
    assert_eq!((again, endpoint.count()), (error, 2), "and nobody is asked again");
}

#[tokio::test]
async fn a_model_that_refuses_every_prompt_is_not_asked_for_ever() {
    let endpoint = Endpoint::start(|_, _| error(400, "Invalid value for reasoning_effort", "invalid_value"));
    let client = Client::new(&one_model(&endpoint, ""));
    for number in 1..=2 {
        assert!(reason(&client.propose(number).await.unwrap()).contains("reasoning_effort"));
    }
    let error = client.propose(3).await.unwrap_err();
    assert!(error.kind == ProposerErrorKind::Setup && error.what.contains("reasoning_effort"), "{error:?}");
    assert_eq!(endpoint.count(), 3);
}

// Outages

#[tokio::test]
async fn proposals_wait_while_an_endpoint_is_down_and_none_is_used_up() {
    // Two answers, then nine failures, then it is back.
    let endpoint =
        Endpoint::start(
            |n, _| if (2..11).contains(&n) { response(503, &[], "down") } else { completion(EDIT) },
        );
    let client = Client::new(&one_model(&endpoint, "outage_patience: 20"));
    for number in 1..=2 {
        client.propose(number).await.unwrap();
    }
    let proposals = futures::future::join_all((3..=6).map(|number| client.propose(number))).await;
    for proposal in &proposals {
        assert!(proposal.as_ref().unwrap().change.is_ok(), "{proposal:?}");
    }
    let requests: u32 = proposals.iter().map(|proposal| proposal.as_ref().unwrap().requests).sum();
    assert_eq!(2 + requests as usize, endpoint.count(), "every request is on a row");
    assert_eq!(endpoint.count(), 2 + 9 + 4);
    let warnings = client.warnings();
    assert_eq!(warnings.len(), 2, "{warnings:?}");
    assert!(warnings[0].contains("wait for it") && warnings[1].contains("answers again"), "{warnings:?}");
}

#[tokio::test]
async fn in_an_outage_one_request_at_a_time_looks_whether_it_is_over() {
    let endpoint = Endpoint::start(|n, _| match n {
        0 => completion(EDIT),
        n if n < 40 => response(503, &[], "down"),
        _ => completion(EDIT),
    });
    let client = Client::new(&one_model(&endpoint, "outage_patience: 1\nretries: 1\nretry_delay: 0.1"));
    client.propose(1).await.unwrap();
    let started = Instant::now();
    let proposals = futures::future::join_all((2..=9).map(|number| client.propose(number))).await;
    assert!(proposals.iter().all(|it| it.as_ref().unwrap_err().kind == ProposerErrorKind::Unreachable));
    assert!(started.elapsed() < Duration::from_secs(10));
    // Each at most its two requests; then single ones with doubling waits: 0.1 s and more within a second.
    assert!((3..=17 + 4).contains(&endpoint.count()), "{} requests", endpoint.count());
    let warnings = client.warnings();
    assert_eq!(
        warnings.iter().filter(|warning| warning.contains("waited for 1 s")).count(),
        1,
        "{warnings:?}"
    );
}

#[tokio::test]
async fn a_prompt_that_alone_gets_no_answer_is_given_up_after_its_requests() {
    let endpoint = Endpoint::start(|_, asked| {
        if asked.body.to_string().contains("poison") {
            std::thread::sleep(Duration::from_millis(30));
            response(500, &[], "oops")
        } else {
            completion(EDIT)
        }
    });
    let client = Arc::new(Client::new(&one_model(&endpoint, "")));
    client.propose(1).await.unwrap();
    let others = client.clone();
    let background = tokio::spawn(async move {
        for number in 3..40 {
            others.propose(number).await.unwrap();
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
    let problem = Arc::new(ProblemText { name: "p".into(), task: "poison".into(), api_reference: None });
    let proposal = client.proposer.propose(Request { problem, ..request(2) }).await.unwrap();
    assert!(
        reason(&proposal).contains("HTTP 500") && reason(&proposal).contains("3 requests"),
        "{proposal:?}"
    );
    assert_eq!(proposal.requests, 3);
    background.await.unwrap();
}

#[tokio::test]
async fn with_another_endpoint_at_hand_an_outage_is_not_waited_for() {
    let down = Endpoint::start(|n, _| if n == 0 { completion(EDIT) } else { response(503, &[], "down") });
    let good = Endpoint::start(|_, _| completion(EDIT));
    let yaml = format!(
        "retry_delay: 0.2\nmodels:\n- {{name: a, api_base: {}}}\n- {{name: b, api_base: {}}}",
        down.base, good.base
    );
    let client = Client::new(&yaml);
    let named = |number: u64| {
        let guidance = Guidance { model: Some("a".into()), ..Guidance::default() };
        client.proposer.propose(Request { guidance, ..request(number) })
    };
    assert_eq!(named(1).await.unwrap().model.as_deref(), Some("a"));
    let proposal = named(2).await.unwrap();
    assert_eq!(
        (proposal.model.as_deref(), proposal.requests),
        (Some("b"), 4),
        "three tries, then the other one"
    );
    assert_eq!(
        (down.count(), named(3).await.unwrap().requests),
        (4, 1),
        "it isn't asked before its pause is over"
    );
}

#[tokio::test]
async fn what_is_not_paid_for_yet_is_withdrawn_when_the_run_ends() {
    let endpoint = Endpoint::start(|n, _| match n {
        0 => completion(EDIT),
        1 => Act::Send(vec![(Duration::from_millis(500), stream_of(EDIT)), (Duration::ZERO, stream_end())]),
        _ => response(503, &["retry-after: 200"], "busy"),
    });
    let client = Client::new(&one_model(&endpoint, ""));
    client.propose(1).await.unwrap();
    let stop = async {
        tokio::time::sleep(Duration::from_millis(250)).await;
        client.context.stopping.cancel();
    };
    let started = Instant::now();
    let second = async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        client.propose(3).await
    };
    let (first, second, ()) = futures::join!(client.propose(2), second, stop);
    assert!(first.unwrap().change.is_ok(), "an answer under way is waited for: it is paid for");
    assert_eq!(second.unwrap_err().kind, ProposerErrorKind::Withdrawn);
    assert!(started.elapsed() < Duration::from_secs(5), "nobody waits 200 s for a run that has ended");
}

// Budgets

#[tokio::test]
async fn a_budget_is_never_passed_and_what_earlier_sessions_spent_counts() {
    let endpoint = Endpoint::start(|_, _| completion(EDIT));
    // 100 tokens in and 20 out are 300 millionths; the worst case has 50 out and a longer prompt.
    let yaml = one_model(&endpoint, "max_tokens: 50\nmax_cost: 0.01");
    let context = RunContext { spent: Spent { cost: 0.005, tokens: 0 }, ..RunContext::default() };
    let client = Client::within(&yaml, context);
    let results = futures::future::join_all((1..=60).map(|number| client.propose(number))).await;
    let spent: f64 = results.iter().flatten().filter_map(|proposal| proposal.cost).sum();
    let done = results.iter().flatten().count();
    assert_eq!(endpoint.count(), done, "no request was made for nothing");
    assert!(spent <= 0.005 && spent > 0.002, "{spent} by {done}");
    for error in results.iter().filter_map(|result| result.as_ref().err()) {
        assert_eq!(error.kind, ProposerErrorKind::CostSpent);
        assert!(error.what.contains("max_cost 0.01") && error.hint.contains("--max-cost"), "{error:?}");
    }
    let yaml = one_model(&endpoint, "max_tokens: 50\nmax_total_tokens: 5000");
    let client = Client::new(&yaml);
    let results = futures::future::join_all((1..=60).map(|number| client.propose(number))).await;
    let tokens: u64 = results
        .iter()
        .flatten()
        .map(|proposal| proposal.tokens_in.unwrap() + proposal.tokens_out.unwrap())
        .sum();
    assert!((2001..=5000).contains(&tokens), "{tokens}");
    assert!(
        results
            .iter()
            .any(|result| result.as_ref().is_err_and(|error| error.kind == ProposerErrorKind::TokensSpent))
    );
}

// Proxies

/// A proxy that passes on what is for `http`, and answers CONNECT with `tunnel`. Returns its address and what it was asked.
fn proxy(to: String, tunnel: &'static str) -> (String, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("127.0.0.1:{}", listener.local_addr().unwrap().port());
    let log = Arc::new(Mutex::new(Vec::new()));
    let seen = log.clone();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let (to, seen) = (to.clone(), seen.clone());
            std::thread::spawn(move || pass_on(stream, &to, tunnel, &seen));
        }
    });
    (address, log)
}

fn pass_on(mut stream: TcpStream, to: &str, tunnel: &str, seen: &Mutex<Vec<String>>) {
    let mut request = Vec::new();
    let mut buffer = [0; 4096];
    while !request.windows(4).any(|window| window == b"\r\n\r\n") {
        match stream.read(&mut buffer) {
            Ok(0) | Err(_) => return,
            Ok(length) => request.extend_from_slice(&buffer[..length]),
        }
    }
    seen.lock().unwrap().push(String::from_utf8_lossy(&request).into_owned());
    if request.starts_with(b"CONNECT") {
        let _ = stream.write_all(tunnel.as_bytes());
        return;
    }
    let Ok(mut server) = TcpStream::connect(to) else { return };
    server.write_all(&request).unwrap();
    let (mut up, mut down) = (stream.try_clone().unwrap(), server.try_clone().unwrap());
    std::thread::spawn(move || std::io::copy(&mut up, &mut down));
    let _ = std::io::copy(&mut server, &mut stream);
    let _ = stream.shutdown(std::net::Shutdown::Both);
}

#[tokio::test]
async fn a_proxy_is_used_where_the_settings_name_one_and_its_password_stays_in_its_header() {
    let endpoint = Endpoint::start(|_, _| completion(EDIT));
    let server = endpoint.base.trim_start_matches("http://").trim_end_matches("/v1").to_owned();
    let (address, seen) = proxy(server, "HTTP/1.1 403 Forbidden\r\n\r\n");
    let yaml = format!(
        "api_base: http://llm.invalid/v1\nmodels: [{{name: m}}]\nproxy: http://user:hush-hush@{address}"
    );
    let proposal = Client::new(&yaml).propose(1).await.unwrap();
    assert!(proposal.change.is_ok(), "{proposal:?}");
    let asked = seen.lock().unwrap().remove(0);
    assert!(asked.starts_with("POST http://llm.invalid/v1/chat/completions"), "{asked}");
    assert!(asked.to_lowercase().contains("proxy-authorization: basic"), "{asked}");
    // For https it is asked for a tunnel; refused, that is no answer from anybody.
    let secure = yaml.replace("http://llm.invalid", "https://llm.invalid");
    let error = Client::new(&secure).propose(1).await.unwrap_err();
    assert!(seen.lock().unwrap().iter().all(|asked| asked.starts_with("CONNECT llm.invalid:443")));
    assert_eq!((error.kind, seen.lock().unwrap().len()), (ProposerErrorKind::Unreachable, 3), "{error:?}");
    assert!(!format!("{error:?}").contains("hush-hush"), "{error:?}");
}

#[tokio::test]
async fn the_environments_proxy_is_for_the_world_and_not_for_this_machine() {
    let endpoint = Endpoint::start(|_, _| completion(EDIT));
    let server = endpoint.base.trim_start_matches("http://").trim_end_matches("/v1").to_owned();
    let (address, seen) = proxy(server, "");
    let propose = async |api_base: &str, no_proxy: Option<&str>, more: &str| {
        let yaml = format!("api_base: {api_base}\nmodels: [{{name: m}}]\nretries: 0\ntimeout: 5\n{more}");
        let mut settings: LlmSettings = serde_yaml::from_str(&yaml).unwrap();
        settings.environment.http = Some(orchestrator::proposer::Secret::new(&address));
        settings.environment.no_proxy = no_proxy.map(str::to_owned);
        LlmProposer::new(&settings, true, &PromptSettings::default())?.propose(request(1)).await
    };
    propose("http://llm.invalid/v1", None, "").await.unwrap();
    assert_eq!(seen.lock().unwrap().len(), 1);
    propose(&endpoint.base, None, "").await.unwrap();
    propose("http://llm.invalid/v1", Some("other.test, llm.invalid"), "").await.unwrap_err();
    propose("http://llm.invalid/v1", None, "proxy: none").await.unwrap_err();
    assert_eq!(seen.lock().unwrap().len(), 1, "none of these went through the proxy");
    let error = propose("http://llm.invalid/v1", None, "proxy: socks5://u:hush@x:1").await.unwrap_err();
    assert!(error.kind == ProposerErrorKind::Setup && !format!("{error:?}").contains("hush"), "{error:?}");
}

// Recordings

#[tokio::test]
async fn a_recording_gives_the_same_proposals_without_a_network() {
    let endpoint = Endpoint::start(|n, _| match n {
        0 => completion(EDIT),
        1 => streamed("no edit at all"),
        2 => json_response(200, &json!({"choices": []})),
        3 => error(400, "maximum context length is 10", "context_length_exceeded"),
        4 => response(500, &[], "oops"),
        n => completion(&EDIT.replace("    2", &format!("    {n}"))),
    });
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("r.jsonl");
    let recorder = Recorder::open(&path, &Header::new("p", 1, 4), false).unwrap();
    let context = RunContext { recorder: Some(Arc::new(recorder)), ..RunContext::default() };
    let live = Client::within(&one_model(&endpoint, "api_key: sk-never-in-a-file"), context);
    let seen = Seen::new(|source| source.contains("    5"));
    let ask = |number: u64| {
        let guidance = Guidance { retries: 1, ..Guidance::default() };
        Request { seen: seen.clone(), guidance, ..request(number) }
    };
    let mut proposals = Vec::new();
    for number in 1..=6 {
        proposals.push(live.proposer.propose(ask(number)).await.unwrap());
    }
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(!text.contains("sk-never"), "{text}");
    assert_eq!(text.lines().count(), 1 + 7, "a header, six proposals, and one that was asked twice");
    let count = endpoint.count();
    let replay =
        LlmProposer::replaying("llm", Recording::open(&path).unwrap(), true, &PromptSettings::default())
            .unwrap();
    // In any order.
    for number in [4, 1, 6, 2, 5, 3] {
        let live = &proposals[number as usize - 1];
        assert_eq!(&replay.propose(ask(number)).await.unwrap(), live);
    }
    let error = replay.propose(ask(7)).await.unwrap_err();
    assert_eq!((error.kind, endpoint.count()), (ProposerErrorKind::RecordingEnds, count));
}
