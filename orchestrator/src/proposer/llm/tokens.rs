//! Tokens that an exchange took, as the endpoint counts them, or estimated where it doesn't say.

use serde_json::Value;

/// Bytes a token has on average, in code and English. For what an endpoint didn't count.
const BYTES_A_TOKEN: usize = 4;

/// Bytes a token has at the very least, over longer texts. For what a request might take.
const FEWEST_BYTES_A_TOKEN: usize = 2;

/// Tokens of one exchange, or of several.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tokens {
    /// Sent.
    pub input: u64,
    /// Of those sent, how many the endpoint had in its cache, where it says so.
    pub cached: Option<u64>,
    /// Received, reasoning included.
    pub output: u64,
    /// Of those received, how many were reasoning, where the endpoint says so.
    pub reasoning: Option<u64>,
    /// Whether some of it is estimated by the length of the texts.
    pub estimated: bool,
}

impl Tokens {
    /// Both together.
    pub fn total(&self) -> u64 {
        self.input.saturating_add(self.output)
    }

    /// What the `usage` of a chat completion says, if it says anything.
    pub(super) fn read(usage: &Value) -> Option<Self> {
        let at = |path: &str| usage.pointer(path).and_then(Value::as_u64);
        let (input, output) = (at("/prompt_tokens"), at("/completion_tokens"));
        if input.is_none() && output.is_none() {
            return None;
        }
        let (input, output) = (input.unwrap_or(0), output.unwrap_or(0));
        // Some endpoints leave reasoning out of the completion and only count it in the total; it is paid for all the same.
        let beyond = at("/total_tokens").unwrap_or(0).saturating_sub(input);
        Some(Self {
            input,
            // DeepSeek has a name of its own for it.
            cached: at("/prompt_tokens_details/cached_tokens").or_else(|| at("/prompt_cache_hit_tokens")),
            output: output.max(beyond),
            reasoning: at("/completion_tokens_details/reasoning_tokens"),
            estimated: false,
        })
    }

    /// By the length of what was sent and received.
    pub(super) fn estimate(sent_bytes: usize, received_bytes: usize) -> Self {
        let tokens = |bytes: usize| bytes.div_ceil(BYTES_A_TOKEN) as u64;
        Self { input: tokens(sent_bytes), output: tokens(received_bytes), estimated: true, ..Self::default() }
    }

    /// What a request may take at worst: a generous count of what is sent, and the longest reply allowed.
    pub(super) fn at_worst(sent_bytes: usize, longest_reply: u64) -> Self {
        let input = sent_bytes.div_ceil(FEWEST_BYTES_A_TOKEN) as u64;
        Self { input, output: longest_reply, estimated: true, ..Self::default() }
    }
}

impl std::ops::Add for Tokens {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        let sum = |one: Option<u64>, two: Option<u64>| match (one, two) {
            (None, None) => None,
            (one, two) => Some(one.unwrap_or(0).saturating_add(two.unwrap_or(0))),
        };
        Self {
            input: self.input.saturating_add(other.input),
            cached: sum(self.cached, other.cached),
            output: self.output.saturating_add(other.output),
            reasoning: sum(self.reasoning, other.reasoning),
            estimated: self.estimated || other.estimated,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn usage_is_read_with_what_only_some_endpoints_say() {
        let plain = json!({"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15});
        let expected = Tokens { input: 10, output: 5, ..Tokens::default() };
        assert_eq!(Tokens::read(&plain), Some(expected));
        let told = json!({
            "prompt_tokens": 10, "completion_tokens": 50,
            "prompt_tokens_details": {"cached_tokens": 4}, "completion_tokens_details": {"reasoning_tokens": 40}
        });
        let expected =
            Tokens { input: 10, cached: Some(4), output: 50, reasoning: Some(40), ..Tokens::default() };
        assert_eq!(Tokens::read(&told), Some(expected));
        // Reasoning beside the completion.
        let beside = json!({"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 115});
        assert_eq!(Tokens::read(&beside).unwrap().output, 105);
        let deepseek = json!({"prompt_tokens": 10, "completion_tokens": 5, "prompt_cache_hit_tokens": 8});
        assert_eq!(Tokens::read(&deepseek).unwrap().cached, Some(8));
        for nothing in [json!(null), json!({}), json!({"prompt_tokens": "many"}), json!([1])] {
            assert_eq!(Tokens::read(&nothing), None, "{nothing}");
        }
        assert_eq!(Tokens::read(&json!({"prompt_tokens": u64::MAX, "total_tokens": 1})).unwrap().output, 0);
    }

    #[test]
    fn an_estimate_stays_one_when_it_is_added_to() {
        let counted = Tokens { input: 1, cached: Some(1), output: 2, ..Tokens::default() };
        let sum = counted + Tokens::estimate(9, 4);
        assert_eq!(sum, Tokens { input: 4, cached: Some(1), output: 3, reasoning: None, estimated: true });
        assert!(!(counted + counted).estimated);
        let most = Tokens { input: u64::MAX, output: u64::MAX, ..counted };
        assert_eq!((most + most).total(), u64::MAX);
    }
}
