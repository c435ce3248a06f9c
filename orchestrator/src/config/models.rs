//! What the `llm` section needs beyond its own text: the file of prices, budgets of the command line, and a run without network.

use std::path::Path;

use super::{ConfigError, folder_of, yaml};
use crate::cli::Overrides;
use crate::proposer::LlmSettings;
use crate::proposer::llm::settings::DEFAULT_API_BASE;
use crate::proposer::llm::{EnvironmentProxies, PriceTable};

/// Reads the file of prices, if one is named.
pub(super) fn complete(path: &Path, mut llm: LlmSettings) -> Result<LlmSettings, ConfigError> {
    let Some(prices) = &llm.prices else { return Ok(llm) };
    let prices = folder_of(path).join(prices);
    let (own, _) = yaml::read::<PriceTable>(&prices)?;
    llm.price_table = PriceTable::default().after(own).map_err(|what| ConfigError::new(&prices, what))?;
    Ok(llm)
}

/// The budgets of the command line go before the file's.
pub(super) fn with_budget(
    path: &Path,
    llm: Option<LlmSettings>,
    overrides: &Overrides,
) -> Result<Option<LlmSettings>, ConfigError> {
    let Overrides { max_cost, max_total_tokens, replay: None, .. } = overrides else { return Ok(llm) };
    match llm {
        Some(llm) => Ok(Some(LlmSettings {
            max_cost: max_cost.or(llm.max_cost),
            max_total_tokens: max_total_tokens.or(llm.max_total_tokens),
            ..llm
        })),
        None if max_cost.is_some() || max_total_tokens.is_some() => {
            let what =
                "--max-cost and --max-total-tokens are budgets of language models, and none is configured";
            Err(ConfigError::new(path, what).hint("--iterations and --max-wall-seconds end any search"))
        }
        None => Ok(None),
    }
}

/// The settings of a run that asks nobody: names and weights stay, which search chooses by; keys, addresses and budgets are of no
/// use, and need not be there.
pub(super) fn offline(mut llm: LlmSettings) -> LlmSettings {
    for model in &mut llm.models {
        (model.api_key, model.api_base, model.proxy) = (None, None, None);
    }
    LlmSettings {
        api_base: DEFAULT_API_BASE.to_owned(),
        api_key: None,
        proxy: None,
        environment: EnvironmentProxies::default(),
        max_cost: None,
        max_total_tokens: None,
        prices: None,
        ..llm
    }
}
