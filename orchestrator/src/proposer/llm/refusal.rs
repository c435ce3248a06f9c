//! What it means when a request fails: try again, give this proposal up, or stop the run.

use std::time::{Duration, SystemTime};

use http::HeaderMap;
use serde_json::Value;

use super::settings::Model;
use crate::proposer::{ProposerError, ProposerErrorKind};

/// A request that brought no chat completion.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refusal {
    /// The server answered with another status than success.
    #[error("HTTP {status}")]
    Status { status: u16, retry_after: Option<Duration>, body: String },
    /// Nothing, or not everything, within the time allowed.
    #[error("no answer within {0:?}")]
    Timeout(Duration),
    /// Nobody there: the name doesn't resolve, the connection is refused, TLS fails.
    #[error("can't connect: {0}")]
    Connect(String),
    /// The connection broke.
    #[error("the connection broke: {0}")]
    Broken(String),
    /// Success, but what follows is no JSON.
    #[error("the answer is not JSON: {0}")]
    Garbage(String),
}

/// What to do about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Next {
    /// Another request may do better; `after` is what the server asks for.
    Retry { after: Option<Duration>, reason: String },
    /// This prompt gets no answer.
    GiveUp { reason: String },
    /// No prompt will.
    Stop(ProposerError),
}

/// A wait beyond this is not a pause but an end.
pub(super) const LONGEST_WAIT: Duration = Duration::from_secs(300);

impl Refusal {
    /// Decides; `model` gives the words, and the key that must not be in them.
    pub(super) fn next(&self, model: &Model) -> Next {
        match self {
            Self::Status { status, retry_after, body } => {
                let said = Said::read(body, model);
                status_next(*status, *retry_after, &said, model)
            }
            other => Next::Retry { after: None, reason: model.api_key.redact(&other.to_string()) },
        }
    }

    /// The error when this was the last of all tries, if it is one that must stop the run.
    pub(super) fn at_last(&self, model: &Model, requests: u32) -> Option<ProposerError> {
        let Self::Connect(why) = self else { return None };
        Some(ProposerError::new(
            ProposerErrorKind::Unreachable,
            format!("{} can't be reached ({requests} tries): {}", model.api_base, model.api_key.redact(why)),
            "check llm.api_base and the network, start the local server, or set llm.models to [] for the rewrite proposer",
        ))
    }
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
            message: model.api_key.redact(&message).chars().take(300).collect(),
            codes: ["type", "code", "param", "status"].map(code).join(" "),
        }
    }

    fn mentions(&self, words: &[&str]) -> bool {
        let text = format!("{} {}", self.message, self.codes).to_ascii_lowercase();
        words.iter().any(|word| text.contains(word))
    }
}

fn status_next(status: u16, retry_after: Option<Duration>, said: &Said, model: &Model) -> Next {
    let Model { name, api_base, .. } = model;
    let reason = format!("HTTP {status} from {api_base}: {}", said.message);
    let stop = |kind, what: String, hint: &str| Next::Stop(ProposerError::new(kind, what, hint));
    match status {
        401 | 403 => wrong_key(&reason, model),
        400 if said.mentions(&["api key not valid", "invalid_api_key", "incorrect api key"]) => {
            wrong_key(&reason, model)
        }
        402 => stop(
            ProposerErrorKind::OutOfMoney,
            reason,
            "add credit to the account, then go on with `evolve resume`",
        ),
        429 if said.mentions(&["insufficient_quota", "exceeded your current quota", "billing"]) => stop(
            ProposerErrorKind::OutOfMoney,
            reason,
            "add credit to the account, then go on with `evolve resume`",
        ),
        404 | 400
            if said.mentions(&["model"])
                && (status == 404 || said.mentions(&["model_not_found", "does not exist"])) =>
        {
            stop(
                ProposerErrorKind::NotFound,
                format!("{api_base} doesn't know the model `{name}`: {}", said.message),
                "correct its name in llm.models (with Ollama: `ollama pull` it first)",
            )
        }
        404 | 405 => stop(
            ProposerErrorKind::NotFound,
            format!("nothing answers chat completions at {api_base}/chat/completions: {reason}"),
            "correct llm.api_base; it usually ends in /v1",
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
            )
        }
        408 | 409 | 425 | 429 | 500..=599 => match retry_after {
            Some(wait) if wait > LONGEST_WAIT => stop(
                ProposerErrorKind::OutOfMoney,
                format!("{reason} (it asks to wait {} s)", wait.as_secs()),
                "the account's limit for now is used up; go on later with `evolve resume`",
            ),
            after => Next::Retry { after, reason },
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
    Next::Stop(ProposerError::new(
        ProposerErrorKind::WrongKey,
        format!("the key is not accepted: {reason}"),
        hint,
    ))
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
        Refusal::Status { status, retry_after: None, body: body.to_owned() }.next(&model())
    }

    fn kind(next: &Next) -> Option<ProposerErrorKind> {
        match next {
            Next::Stop(error) => Some(error.kind),
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
        let Next::Stop(error) =
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
            body: String::new(),
        };
        assert_eq!(kind(&refusal.next(&model())), Some(ProposerErrorKind::OutOfMoney));
    }
}
