//! Several proposers behind one: search says whose turn it is.

use std::sync::Arc;

use futures::future::BoxFuture;

use super::{Condensed, Proposal, Proposer, ProposerError, Request};
use crate::prompt::Material;

/// Passes each request on to the proposer that search names. What it answers is stored under that one's own name.
pub struct SeveralProposers {
    first: Arc<dyn Proposer>,
    others: Vec<Arc<dyn Proposer>>,
}

impl SeveralProposers {
    /// `first` answers whatever nobody is named for.
    pub fn new(first: Arc<dyn Proposer>, others: Vec<Arc<dyn Proposer>>) -> Self {
        Self { first, others }
    }

    fn named(&self, name: Option<&str>) -> &dyn Proposer {
        let named = self.others.iter().find(|proposer| Some(proposer.name()) == name);
        &**named.unwrap_or(&self.first)
    }
}

impl Proposer for SeveralProposers {
    fn name(&self) -> &'static str {
        "several"
    }

    fn propose(&self, request: Request) -> BoxFuture<'_, Result<Proposal, ProposerError>> {
        self.named(request.guidance.proposer.as_deref()).propose(request)
    }

    /// By the first one that asks a model.
    fn condense(
        &self,
        material: Material,
        model: Option<String>,
        seed: u64,
    ) -> BoxFuture<'_, Result<Option<Condensed>, ProposerError>> {
        Box::pin(async move {
            for proposer in std::iter::once(&self.first).chain(&self.others) {
                if let Some(condensed) = proposer.condense(material.clone(), model.clone(), seed).await? {
                    return Ok(Some(condensed));
                }
            }
            Ok(None)
        })
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;
    use search::{Language, Outcome, ProgramId};

    use super::*;
    use crate::proposer::{Exhibit, Guidance, ProblemText, Seen};

    struct Named(&'static str);

    impl Proposer for Named {
        fn name(&self) -> &'static str {
            self.0
        }

        fn propose(&self, _: Request) -> BoxFuture<'_, Result<Proposal, ProposerError>> {
            async move { Ok(Proposal::offline(self.0, "none", Err(Outcome::NoChange))) }.boxed()
        }
    }

    #[tokio::test]
    async fn the_named_one_proposes_and_the_first_where_nobody_or_a_stranger_is_named() {
        let several = SeveralProposers::new(Arc::new(Named("llm")), vec![Arc::new(Named("rewrite"))]);
        for (wanted, proposer) in
            [(Some("rewrite"), "rewrite"), (Some("llm"), "llm"), (None, "llm"), (Some("replay"), "llm")]
        {
            let request = Request {
                number: ProgramId(1),
                seed: 0,
                language: Language::Rust,
                problem: Arc::new(ProblemText::default()),
                parent: Exhibit::new(ProgramId::INITIAL, "", None),
                inspirations: vec![],
                different: vec![],
                partner: None,
                successes: vec![],
                failures: vec![],
                repair: None,
                lessons: None,
                seen: Seen::nothing(),
                guidance: Guidance { proposer: wanted.map(str::to_owned), ..Guidance::default() },
            };
            assert_eq!(several.propose(request).await.map(|proposal| proposal.proposer), Ok(proposer));
        }
    }
}
