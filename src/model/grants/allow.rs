//! What the operator of a host allows, for all tenants and for some of them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Access, ClockGrain, Granted, Grants, HttpRule, HttpScope, Network, RandomSource};
use crate::model::{BucketName, Metering, Tenant};

/// What a host allows, as its operator writes it (`--allow FILE.toml`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Allow {
    /// What holds for all tenants.
    pub all: Allowance,
    /// What holds for single tenants; what it leaves out is as for all.
    pub tenants: BTreeMap<Tenant, Allowance>,
}

/// What is allowed. What is left out is as [`Allow`] says: for a tenant as for all, for all as by default.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Allowance {
    /// Requests over HTTP; none by default, since they reach what is outside of the tenant.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub http: Option<Vec<HttpRule>>,
    /// Networks that requests may reach although they are not public, as in `10.1.0.0/16`; none by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub networks: Option<Vec<Network>>,
    /// Key-value buckets; all of the tenant's own by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kv: Option<Buckets>,
    /// Buckets of objects; all of the tenant's own by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub blob: Option<Buckets>,
    /// Secrets; all of the tenant's own by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secrets: Option<bool>,
    /// Settings; allowed by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub config: Option<bool>,
    /// The fine clock; allowed by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clock: Option<bool>,
    /// The entropy of the machine; allowed by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub random: Option<bool>,
    /// Modules that count no fuel, so that only their deadline ends them; allowed by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub without_fuel: Option<bool>,
    /// Modules that use exceptions of Wasm, which take an engine with more in it; not allowed by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exceptions: Option<bool>,
}

/// Which buckets are allowed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Buckets {
    /// `true`: all; `false`: none.
    All(bool),
    /// These, as far as it says.
    Named(BTreeMap<BucketName, Access>),
}

impl Buckets {
    fn of(&self, granted: &BTreeMap<BucketName, Access>) -> BTreeMap<BucketName, Access> {
        match self {
            Self::All(true) => granted.clone(),
            Self::All(false) => BTreeMap::new(),
            Self::Named(allowed) => {
                let both = |(bucket, access): (&BucketName, &Access)| {
                    allowed.get(bucket).map(|most| (bucket.clone(), *access.min(most)))
                };
                granted.iter().filter_map(both).collect()
            }
        }
    }
}

impl Allow {
    /// What a module of a tenant gets: what its tenant granted and this allows.
    #[must_use]
    pub fn granted(&self, tenant: &Tenant, grants: &Grants) -> Granted {
        let own = self.tenants.get(tenant);
        let http = own.and_then(|own| own.http.as_ref()).or(self.all.http.as_ref()).cloned().unwrap_or_default();
        let buckets = |of: fn(&Allowance) -> Option<&Buckets>, granted| {
            own.and_then(of).or(of(&self.all)).unwrap_or(&Buckets::All(true)).of(granted)
        };
        let allows = |of| self.allows(tenant, of);
        // Rules of the tenant stay where the operator has none, so that a guest is told on which side one is missing.
        let http = if grants.http.is_empty() {
            HttpScope::default()
        } else {
            let networks = own.and_then(|own| own.networks.as_ref()).or(self.all.networks.as_ref());
            HttpScope { granted: grants.http.clone(), allowed: http, networks: networks.cloned().unwrap_or_default() }
        };
        Granted {
            http,
            kv: buckets(|allowance| allowance.kv.as_ref(), &grants.kv),
            blob: buckets(|allowance| allowance.blob.as_ref(), &grants.blob),
            secrets: if allows(|allowance| allowance.secrets) { grants.secrets.clone() } else { Default::default() },
            config: if allows(|allowance| allowance.config) { grants.config.clone() } else { Default::default() },
            clock: if allows(|allowance| allowance.clock) { grants.clock } else { ClockGrain::default() },
            random: if allows(|allowance| allowance.random) { grants.random } else { RandomSource::default() },
        }
    }

    /// Whether a tenant's modules may be metered so.
    #[must_use]
    pub fn meters(&self, tenant: &Tenant, metering: Metering) -> bool {
        metering.is_fuel() || self.allows(tenant, |allowance| allowance.without_fuel)
    }

    /// Whether a tenant's modules may use exceptions of Wasm.
    #[must_use]
    pub fn exceptions(&self, tenant: &Tenant) -> bool {
        self.says(tenant, |allowance| allowance.exceptions).unwrap_or(false)
    }

    /// What is allowed where nobody says otherwise, for a tenant or for all.
    fn allows(&self, tenant: &Tenant, of: fn(&Allowance) -> Option<bool>) -> bool {
        self.says(tenant, of).unwrap_or(true)
    }

    fn says(&self, tenant: &Tenant, of: fn(&Allowance) -> Option<bool>) -> Option<bool> {
        self.tenants.get(tenant).and_then(of).or(of(&self.all))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn granted(allow: &str, tenant: &str, grants: &[&str]) -> Vec<String> {
        let allow: Allow = serde_json::from_str(allow).unwrap();
        let grants = grants.iter().fold(Grants::default(), |grants, text| grants.with(text.parse().unwrap()));
        let Granted { http, kv, blob, secrets, config, clock, random } =
            allow.granted(&tenant.parse().unwrap(), &grants);
        let networks = http.networks.iter().map(|network| format!("open {network}"));
        let mut http: Vec<String> = http.allowed.iter().map(|rule| format!("allowed {rule}")).chain(networks).collect();
        let rest = Grants { http: vec![], kv, blob, secrets, config, clock, random };
        http.extend(rest.iter().map(|grant| grant.to_string()));
        http
    }

    #[test]
    fn a_guest_gets_what_is_granted_and_allowed() {
        let all = ["kv=a:rw", "blob=b:rw", "secret=s", "config=k=v", "clock", "random"];
        let rows: [(&str, &str, &[&str], &[&str]); 15] = [
            ("{}", "t", &[], &[]),
            ("{}", "t", &all, &all),
            ("{}", "t", &["http=GET https://x.example"], &[]),
            (
                r#"{"all":{"http":["https://x.example"]}}"#,
                "t",
                &["http=GET https://x.example"],
                &["allowed https://x.example"],
            ),
            (r#"{"all":{"http":["https://x.example"]}}"#, "t", &["kv=a:r"], &["kv=a:r"]),
            (
                r#"{"all":{"http":["http://x.example"],"networks":["10.1.0.0/16"]}}"#,
                "t",
                &["http=http://x.example"],
                &["allowed http://x.example", "open 10.1.0.0/16"],
            ),
            (
                r#"{"all":{"http":["http://x.example"],"networks":["10.1.0.0/16"]},"tenants":{"t":{"networks":[]}}}"#,
                "t",
                &["http=http://x.example"],
                &["allowed http://x.example"],
            ),
            (r#"{"all":{"kv":false}}"#, "t", &all, &["blob=b:rw", "secret=s", "config=k=v", "clock", "random"]),
            (r#"{"all":{"kv":{"a":"r"}}}"#, "t", &["kv=a:rw", "kv=c:r"], &["kv=a:r"]),
            (r#"{"all":{"blob":{"b":"rw"}}}"#, "t", &["blob=b:r"], &["blob=b:r"]),
            (
                r#"{"all":{"secrets":false,"config":false,"clock":false,"random":false}}"#,
                "t",
                &all,
                &["kv=a:rw", "blob=b:rw"],
            ),
            (r#"{"all":{"clock":false},"tenants":{"t":{"clock":true}}}"#, "t", &["clock"], &["clock"]),
            (r#"{"all":{"clock":false},"tenants":{"t":{"clock":true}}}"#, "u", &["clock"], &[]),
            // What a tenant's table leaves out is as for all.
            (r#"{"all":{"kv":false},"tenants":{"t":{"clock":true}}}"#, "t", &["kv=a:r"], &[]),
            (
                r#"{"all":{"http":["https://x.example"]},"tenants":{"t":{"http":[]}}}"#,
                "t",
                &["http=https://x.example"],
                &[],
            ),
        ];
        for (allow, tenant, grants, expected) in rows {
            assert_eq!(granted(allow, tenant, grants), expected, "{allow} for {tenant}");
        }
    }

    #[test]
    fn modules_without_fuel_run_where_their_operator_allows_it() {
        for (allow, tenant, allowed) in [
            ("{}", "t", true),
            (r#"{"all":{"without_fuel":false}}"#, "t", false),
            (r#"{"all":{"without_fuel":false},"tenants":{"t":{"without_fuel":true}}}"#, "t", true),
            (r#"{"tenants":{"t":{"without_fuel":false}}}"#, "t", false),
            (r#"{"tenants":{"t":{"without_fuel":false}}}"#, "u", true),
        ] {
            let (read, tenant): (Allow, Tenant) = (serde_json::from_str(allow).unwrap(), tenant.parse().unwrap());
            assert_eq!(read.meters(&tenant, Metering::Deadline), allowed, "{allow} for {tenant}");
            assert!(read.meters(&tenant, Metering::Fuel), "{allow} for {tenant}");
        }
    }

    #[test]
    fn modules_with_exceptions_run_only_where_their_operator_allows_it() {
        for (allow, tenant, allowed) in [
            ("{}", "t", false),
            (r#"{"all":{"exceptions":true}}"#, "t", true),
            (r#"{"all":{"exceptions":true},"tenants":{"t":{"exceptions":false}}}"#, "t", false),
            (r#"{"tenants":{"t":{"exceptions":true}}}"#, "t", true),
            (r#"{"tenants":{"t":{"exceptions":true}}}"#, "u", false),
        ] {
            let (read, tenant): (Allow, Tenant) = (serde_json::from_str(allow).unwrap(), tenant.parse().unwrap());
            assert_eq!(read.exceptions(&tenant), allowed, "{allow} for {tenant}");
        }
    }

    #[test]
    fn what_allows_more_than_there_is_is_refused() {
        for text in [
            r#"{"files":true}"#,
            r#"{"all":{"kv":"yes"}}"#,
            r#"{"all":{"http":["*"]}}"#,
            r#"{"all":{"networks":["10.0.0.1/8"]}}"#,
            r#"{"all":{"kv":{"a.b":"r"}}}"#,
            r#"{"tenants":{"ctl":{}}}"#,
        ] {
            assert!(serde_json::from_str::<Allow>(text).is_err(), "{text}");
        }
    }
}
