//! What it means when a request fails: try again, give this proposal up, or stop the run.

use std::time::{Duration, SystemTime};

use http::HeaderMap;
use serde_json::Value;

use super::model::Model;
use super::stream::Partial;
use crate::proposer::{ProposerError, ProposerErrorKind};

/// A request that brought no chat completion.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refusal {
    /// The server answered with another status than success.
    #[error("HTTP {status}")]
    Status { status: u16, retry_after: Option<Duration>, location: Option<String>, body: String },
    /// Not everything within the time allowed; nothing at all, unless `alive`.
    #[error("no {}answer within {after:?}", if *.alive { "complete " } else { "" })]
    Timeout { after: Duration, alive: bool, partial: Partial },
    /// The answer began, and then nothing more came.
    #[error("the answer stalled: nothing more came for {after:?}")]
    Stalled { after: Duration, partial: Partial },
    /// Nobody there: the name doesn't resolve, the connection is refused, TLS fails.
    #[error("can't connect: {0}")]
    Connect(String),
    /// The connection broke.
    #[error("the connection broke: {why}")]
    Broken { why: String, partial: Partial },
    /// Success, but what follows is no chat completion.
    #[error("the answer is not JSON: {begins}")]
    Garbage { begins: String, partial: Partial },
    /// More than anybody reads.
    #[error("the answer is longer than {limit} bytes")]
    TooLong { limit: usize, partial: Partial },
}

/// What to do about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Next {
    /// Another request may do better; `after` is what the server asks for.
    Retry { after: Option<Duration>, reason: String, blame: Blame },
    /// Another request may do better that asks for less.
    Plainer { reason: String },
    /// This prompt gets no answer.
    GiveUp { reason: String },
    /// No prompt will.
    Stop(ProposerError, Scope),
}

/// Whose fault a failure is that may pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Blame {
    /// The endpoint's: it is busy, or not there.
    Endpoint,
    /// The prompt's: the endpoint works at it, for too long.
    Prompt,
    /// It can't be told from one prompt.
    Unknown,
}

/// Who is of no use any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scope {
    /// One model.
    Model,
    /// All models of the account.
    Account,
}

/// How a request asks for its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Streaming {
    /// Whole.
    Off,
    /// In pieces.
    On,
    /// In pieces, with the count of tokens at the end.
    WithUsage,
}

/// A wait beyond this is not a pause but an end.
pub(super) const LONGEST_WAIT: Duration = Duration::from_secs(300);

impl Refusal {
    /// Decides; `model` gives the words, and the key that must not be in them.
    pub(super) fn next(&self, model: &Model, streaming: Streaming) -> Next {
        let reason = || model.redact(&self.to_string());
        let retry = |blame| Next::Retry { after: None, reason: reason(), blame };
        match self {
            Self::Status { status, retry_after, location, body } => {
                let said = Said::read(body, model);
                if streaming > Streaming::Off && said.refuses_streaming(*status) {
                    return Next::Plainer { reason: format!("HTTP {status}: {}", said.message) };
                }
                if let (300..=399, Some(location)) = (*status, location) {
                    return redirected(*status, location, model);
                }
                status_next(*status, *retry_after, &said, model)
            }
            Self::Connect(_) => retry(Blame::Endpoint),
            Self::Timeout { alive: true, .. } => retry(Blame::Prompt),
            Self::TooLong { .. } => Next::GiveUp { reason: reason() },
            _ => retry(Blame::Unknown),
        }
    }

    /// What came of the answer, if the request was paid for all the same, as far as one can know.
    pub(super) fn paid_for(&self) -> Option<&Partial> {
        match self {
            Self::Status { .. } | Self::Connect(_) => None,
            Self::Timeout { partial, .. }
            | Self::Stalled { partial, .. }
            | Self::Broken { partial, .. }
            | Self::Garbage { partial, .. }
            | Self::TooLong { partial, .. } => Some(partial),
        }
    }
}

/// The error that ends the use of an account that answers nobody.
pub(super) fn unreachable(model: &Model, reason: &str, requests: u32) -> ProposerError {
    ProposerError::new(
        ProposerErrorKind::Unreachable,
        format!("{} gives no answer ({requests} requests): {reason}", model.api_base),
        "check llm.api_base and the network, start the local server, or raise llm.timeout if the model needs longer",
    )
}

fn redirected(status: u16, location: &str, model: &Model) -> Next {
    let location: String = model.redact(location).chars().take(200).collect();
    let error = ProposerError::new(
        ProposerErrorKind::NotFound,
        format!("{} sends requests on to {location} (HTTP {status})", model.api_base),
        "set llm.api_base to where it leads; a redirect isn't followed, because it could lead the key astray",
    );
    Next::Stop(error, Scope::Account)
}

/// An error object, as far as there is one.
struct Said {
    message: String,
    /// `type`, `code` and `param`, joined.
    codes: String,
}

impl Said {
    fn read(body: &str, model: &Model) -> Self {
        let json: Value = serde_json::from_str(body).unwrap_or_default();
        // Gemini wraps its object in an array.
        let json = json.get(0).unwrap_or(&json);
        let error = json.get("error").unwrap_or(json);
        let message = error.as_str().or_else(|| error.get("message")?.as_str());
        let plain = body.trim_start().starts_with('<').then_some("a web page, not an error message");
        let message = message.or(plain).unwrap_or(body);
        let message = message.split_whitespace().collect::<Vec<_>>().join(" ");
        let code = |key: &str| error.get(key).and_then(Value::as_str).unwrap_or_default();
        Self {
            message: model.redact(&message).chars().take(300).collect(),
            codes: ["type", "code", "param", "status"].map(code).join(" "),
        }
    }

    /// Whether it was streaming that wasn't accepted, rather than the prompt.
    fn refuses_streaming(&self, status: u16) -> bool {
        matches!(status, 400 | 404 | 405 | 406 | 415 | 422 | 501) && self.mentions(&["stream"])
    }

    fn mentions(&self, words: &[&str]) -> bool {
        let text = format!("{} {}", self.message, self.codes).to_ascii_lowercase();
        words.iter().any(|word| text.contains(word))
    }
}

fn status_next(status: u16, retry_after: Option<Duration>, said: &Said, model: &Model) -> Next {
    let Model { name, api_base, .. } = model;
    let reason = format!("HTTP {status} from {api_base}: {}", said.message);
    let stop =
        |kind, what: String, hint: &str, scope| Next::Stop(ProposerError::new(kind, what, hint), scope);
    match status {
        401 | 403 => wrong_key(&reason, model),
        400 if said.mentions(&["api key not valid", "invalid_api_key", "incorrect api key"]) => {
            wrong_key(&reason, model)
        }
        402 => stop(
            ProposerErrorKind::OutOfMoney,
            reason,
            "add credit to the account, then go on with `evolve resume`",
            Scope::Account,
        ),
        429 if said.mentions(&["insufficient_quota", "exceeded your current quota", "billing"]) => stop(
            ProposerErrorKind::OutOfMoney,
            reason,
            "add credit to the account, then go on with `evolve resume`",
            Scope::Account,
        ),
        404 | 400
            if said.mentions(&["model"])
                && (status == 404 || said.mentions(&["model_not_found", "does not exist"])) =>
        {
            stop(
                ProposerErrorKind::NotFound,
                format!("{api_base} doesn't know the model `{name}`: {}", said.message),
                "correct its name in llm.models (with Ollama: `ollama pull` it first)",
                Scope::Model,
            )
        }
        404 | 405 => stop(
            ProposerErrorKind::NotFound,
            format!("nothing answers chat completions at {api_base}/chat/completions: {reason}"),
            "correct llm.api_base; it usually ends in /v1",
            Scope::Account,
        ),
        400 | 422
            if said.mentions(&[
                "unsupported_parameter",
                "unsupported parameter",
                "unsupported_value",
                "unsupported value",
            ]) =>
        {
            stop(
                ProposerErrorKind::Setup,
                format!("model `{name}` doesn't accept a setting: {}", said.message),
                "change or remove (null) that setting in the llm section",
                Scope::Model,
            )
        }
        408 | 409 | 425 | 429 | 500..=599 => match retry_after {
            Some(wait) if wait > LONGEST_WAIT => stop(
                ProposerErrorKind::OutOfMoney,
                format!("{reason} (it asks to wait {} s)", wait.as_secs()),
                "the account's limit for now is used up; go on later with `evolve resume`",
                Scope::Account,
            ),
            after => {
                let blame = if matches!(status, 429 | 503 | 529) { Blame::Endpoint } else { Blame::Unknown };
                Next::Retry { after, reason, blame }
            }
        },
        _ => Next::GiveUp { reason },
    }
}

fn wrong_key(reason: &str, model: &Model) -> Next {
    let hint = if model.api_key.is_empty() {
        "set llm.api_key, for example to ${OPENAI_API_KEY}"
    } else {
        "check llm.api_key and the variable that it comes from, and that it is a key for this endpoint"
    };
    let what = format!("the key is not accepted: {reason}");
    Next::Stop(ProposerError::new(ProposerErrorKind::WrongKey, what, hint), Scope::Account)
}

/// The wait that a server asks for: milliseconds, seconds or a date.
pub(super) fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).map(str::trim);
    let seconds = |value: f64| Duration::try_from_secs_f64(value).ok();
    if let Some(wait) =
        text("retry-after-ms").and_then(|ms| ms.parse::<f64>().ok()).and_then(|ms| seconds(ms / 1000.0))
    {
        return Some(wait);
    }
    let value = text("retry-after")?;
    value.parse().ok().and_then(seconds).or_else(|| {
        let date = httpdate::parse_http_date(value).ok()?;
        Some(date.duration_since(now).unwrap_or_default())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proposer::LlmSettings;

    fn model() -> Model {
        let settings: LlmSettings =
            serde_yaml::from_str("api_key: sk-very-secret\nmodels: [{name: m}]\n").unwrap();
        settings.checked_models().unwrap().remove(0)
    }

    fn next(status: u16, body: &str) -> Next {
        refused(status, body).next(&model(), Streaming::Off)
    }

    fn refused(status: u16, body: &str) -> Refusal {
        Refusal::Status { status, retry_after: None, location: None, body: body.to_owned() }
    }

    fn kind(next: &Next) -> Option<ProposerErrorKind> {
        match next {
            Next::Stop(error, _) => Some(error.kind),
            _ => None,
        }
    }

    #[test]
    fn what_no_retry_can_mend_stops_the_run() {
        use ProposerErrorKind::{NotFound, OutOfMoney, Setup, WrongKey};
        for (status, body, expected) in [
            (401, "", WrongKey),
            (403, "<html>", WrongKey),
            (
                400,
                r#"[{"error": {"message": "API key not valid. Please pass a valid API key.", "status": "INVALID_ARGUMENT"}}]"#,
                WrongKey,
            ),
            (402, "{}", OutOfMoney),
            (
                429,
                r#"{"error": {"message": "You exceeded", "type": "insufficient_quota", "code": "insufficient_quota"}}"#,
                OutOfMoney,
            ),
            (404, r#"{"error": "model \"x\" not found, try pulling it first"}"#, NotFound),
            (404, "404 page not found", NotFound),
            (
                400,
                r#"{"error": {"message": "The model `x` does not exist", "code": "model_not_found"}}"#,
                NotFound,
            ),
            (
                400,
                r#"{"error": {"message": "Unsupported value: 'temperature'", "code": "unsupported_value"}}"#,
                Setup,
            ),
        ] {
            assert_eq!(kind(&next(status, body)), Some(expected), "{status} {body}");
        }
    }

    #[test]
    fn what_may_pass_is_tried_again_and_what_is_wrong_with_the_prompt_is_given_up() {
        for status in [408, 409, 429, 500, 502, 503, 529] {
            assert!(matches!(next(status, "busy"), Next::Retry { .. }), "{status}");
        }
        for (status, body) in [
            (400, r#"{"error": {"code": "context_length_exceeded", "message": "too long"}}"#),
            (413, ""),
            (422, "x"),
        ] {
            assert!(matches!(next(status, body), Next::GiveUp { .. }), "{status}");
        }
    }

    #[test]
    fn an_echoed_key_does_not_get_into_the_words() {
        let Next::Stop(error, _) =
            next(401, r#"{"error": {"message": "Incorrect API key provided: sk-very-secret"}}"#)
        else {
            panic!("not stopped");
        };
        assert!(
            !format!("{error:?} {error}").contains("sk-very-secret") && error.what.contains("[key]"),
            "{error}"
        );
    }

    #[test]
    fn retry_after_comes_as_seconds_milliseconds_or_date() {
        let now = httpdate::parse_http_date("Sun, 06 Nov 1994 08:49:00 GMT").unwrap();
        let wait = |name: &'static str, value: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(name, value.parse().unwrap());
            retry_after(&headers, now)
        };
        assert_eq!(wait("retry-after", "2"), Some(Duration::from_secs(2)));
        assert_eq!(wait("retry-after", "0.5"), Some(Duration::from_millis(500)));
        assert_eq!(wait("retry-after-ms", "250"), Some(Duration::from_millis(250)));
        assert_eq!(wait("retry-after", "Sun, 06 Nov 1994 08:49:37 GMT"), Some(Duration::from_secs(37)));
        assert_eq!(wait("retry-after", "Sun, 06 Nov 1994 08:00:00 GMT"), Some(Duration::ZERO));
        for nonsense in ["soon", "-1", "NaN", "1e300", ""] {
            assert_eq!(wait("retry-after", nonsense), None, "{nonsense}");
        }
    }

    #[test]
    fn a_wait_of_hours_stops_the_run_instead_of_holding_it() {
        let refusal = Refusal::Status {
            status: 429,
            retry_after: Some(Duration::from_secs(7200)),
            location: None,
            body: String::new(),
        };
        assert_eq!(kind(&refusal.next(&model(), Streaming::Off)), Some(ProposerErrorKind::OutOfMoney));
    }

    #[test]
    fn an_endpoint_that_does_not_stream_is_asked_for_the_whole() {
        let words = r#"{"error": {"message": "Unsupported parameter: 'stream_options'", "code": "unsupported_parameter"}}"#;
        for status in [400, 422, 501] {
            for streaming in [Streaming::On, Streaming::WithUsage] {
                let next = refused(status, words).next(&model(), streaming);
                assert!(matches!(next, Next::Plainer { .. }), "{status} {next:?}");
            }
        }
        // Without streaming it is a setting like any other, and an overload is never about streaming.
        assert_eq!(kind(&next(400, words)), Some(ProposerErrorKind::Setup));
        let busy = refused(503, "upstream connect error").next(&model(), Streaming::On);
        assert!(matches!(busy, Next::Retry { blame: Blame::Endpoint, .. }), "{busy:?}");
    }

    #[test]
    fn a_redirect_names_where_it_leads() {
        let refusal = Refusal::Status {
            status: 308,
            retry_after: None,
            location: Some("https://elsewhere.test/v1?k=sk-very-secret".into()),
            body: String::new(),
        };
        let Next::Stop(error, Scope::Account) = refusal.next(&model(), Streaming::On) else {
            panic!("not stopped")
        };
        assert!(error.what.contains("elsewhere.test") && !error.what.contains("sk-very-secret"), "{error}");
    }

    #[test]
    fn who_is_to_blame_decides_whether_others_are_waited_for() {
        let blame = |refusal: Refusal| match refusal.next(&model(), Streaming::On) {
            Next::Retry { blame, .. } => blame,
            other => panic!("{other:?}"),
        };
        let (after, partial) = (Duration::from_secs(1), Partial::default());
        assert_eq!(blame(refused(429, "slow down")), Blame::Endpoint);
        assert_eq!(blame(refused(500, "oops")), Blame::Unknown);
        assert_eq!(blame(Refusal::Connect("refused".into())), Blame::Endpoint);
        assert_eq!(blame(Refusal::Timeout { after, alive: true, partial: partial.clone() }), Blame::Prompt);
        assert_eq!(blame(Refusal::Timeout { after, alive: false, partial: partial.clone() }), Blame::Unknown);
        assert_eq!(blame(Refusal::Stalled { after, partial }), Blame::Unknown);
    }
}
