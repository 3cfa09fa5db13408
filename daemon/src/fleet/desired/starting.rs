//! What a start of the program runs on: the version on trial, the proven one, or none where neither can be loaded.

use std::time::Duration;

use tokio::time::Instant;

use super::store::Version;
use super::{Inner, Keeper, STARTS_MAX, not_written};
use crate::config::{Config, ConfigError, FleetLayer};

impl Keeper {
    /// The configuration for a command beside the station: as a start would have it, and nothing is counted.
    pub fn look(&self) -> Result<Config, ConfigError> {
        let inner = self.inner();
        if let Some(unreadable) = &inner.unreadable {
            tracing::warn!("{unreadable}");
        }
        let layer = inner.kept.in_use().map(Version::layer).transpose()?;
        self.base.load(layer.as_ref())
    }

    /// What this start of the station runs on. Counts a start of a trial; a version that was started too often without its
    /// link, or that cannot be loaded any more, is rolled back first. `Err`: the station's own file is wrong.
    pub fn begin(&self) -> Result<Config, ConfigError> {
        let mut inner = self.inner();
        if let Some(starts) = inner.kept.trial.as_ref().map(|trial| trial.starts) {
            let counted = if starts < STARTS_MAX {
                self.change(&mut inner, |kept| {
                    if let Some(trial) = &mut kept.trial {
                        trial.starts += 1;
                    }
                })
            } else {
                let reason =
                    format!("{starts} starts, and the link to the broker was not there in any of them");
                self.take_back(&mut inner, &reason)
            };
            not_written(counted);
        }
        self.settle(&mut inner, |layer| self.base.load(layer))
    }

    /// The same over the text of the last good file, where [`Keeper::begin`] says that the file is wrong.
    pub fn begin_on_last_good(&self) -> Result<Config, ConfigError> {
        self.settle(&mut self.inner(), |layer| self.base.last_good(layer))
    }

    /// Uses the first that loads: the version on trial, the proven one, none.
    fn settle(
        &self,
        inner: &mut Inner,
        load: impl Fn(Option<&FleetLayer>) -> Result<Config, ConfigError>,
    ) -> Result<Config, ConfigError> {
        let mut failed: Option<ConfigError> = None;
        let on_trial = inner.kept.trial.as_ref().map(|trial| trial.of.clone());
        for version in [on_trial.clone(), inner.kept.proven.clone()].into_iter().flatten() {
            let loaded = version.layer().and_then(|layer| load(Some(&layer)).map(|config| (config, layer)));
            match loaded {
                Ok((config, layer)) => {
                    let fresh = on_trial.as_ref() == Some(&version);
                    if let (false, Some(error)) = (fresh, &failed) {
                        not_written(self.take_back(inner, &error.line()));
                    }
                    if fresh {
                        inner.until = Some(Instant::now() + Duration::from_secs_f64(config.fleet.trial_s));
                    }
                    self.run_on(inner, Some(version), layer, &config);
                    return Ok(config);
                }
                Err(error) => failed = failed.or(Some(error)),
            }
        }
        let config = load(None)?;
        if let Some(error) = failed {
            if on_trial.is_some() {
                not_written(self.take_back(inner, &error.line()));
            }
            inner.unusable = inner.kept.proven.as_ref().map(|_| error.line());
        }
        self.run_on(inner, None, FleetLayer::default(), &config);
        Ok(config)
    }

    fn run_on(&self, inner: &mut Inner, version: Option<Version>, layer: FleetLayer, config: &Config) {
        (inner.running, inner.layer) = (version, layer);
        inner.recipes = config.recipes.fleet.clone();
        self.tell(inner);
    }
}
