//! What a station's owner says about the service.

use std::path::PathBuf;
use std::time::Duration;

use reqwest::Url;

use super::presigned::is_protected;

/// Where, as whom, and how patiently.
#[derive(Debug, Clone, PartialEq)]
pub struct Imaging360Options {
    /// Name in the configuration; part of the queue's key.
    pub name: String,
    /// Base address, for example `https://api.360imaging.example/v1`; https, unless it is this machine's.
    pub url: String,
    /// Organisation of this station.
    pub org: String,
    /// Site of this station.
    pub site: String,
    /// File with the device token.
    pub token_file: PathBuf,
    /// Limit for one request to the service.
    pub request_limit: Duration,
    /// The slowest line on which an upload is still waited for, in bytes a second.
    pub rate_min: u64,
}

impl Imaging360Options {
    /// With the usual patience: 30 s for a request, 16 KiB/s for an upload.
    pub fn new(name: &str, url: &str, org: &str, site: &str, token_file: PathBuf) -> Self {
        Self {
            name: name.to_owned(),
            url: url.to_owned(),
            org: org.to_owned(),
            site: site.to_owned(),
            token_file,
            request_limit: Duration::from_secs(30),
            rate_min: 16 << 10,
        }
    }
}

/// An address that cannot be the service's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BadAddress(String);

/// Reads the service's base address: https, or http on this machine; without query.
pub fn read_address(url: &str) -> Result<Url, BadAddress> {
    let mut address = Url::parse(url).map_err(|error| BadAddress(format!("is no address: {error}")))?;
    if !is_protected(&address) {
        return Err(BadAddress("must begin with https://; http:// is for this machine only".to_owned()));
    }
    if address.query().is_some() || address.fragment().is_some() || !address.username().is_empty() {
        return Err(BadAddress("must hold no user, query or fragment".to_owned()));
    }
    // Paths are joined to it.
    if !address.path().ends_with('/') {
        address.set_path(&format!("{}/", address.path()));
    }
    Ok(address)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_protected_and_ends_where_paths_begin() {
        assert_eq!(read_address("https://api.example/v1").unwrap().as_str(), "https://api.example/v1/");
        assert_eq!(read_address("http://127.0.0.1:8080").unwrap().as_str(), "http://127.0.0.1:8080/");
        for wrong in
            ["", "api.example", "http://api.example", "https://u@api.example", "https://api.example/?a=b"]
        {
            assert!(read_address(wrong).is_err(), "{wrong}");
        }
    }
}
