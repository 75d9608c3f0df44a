//! What a container runtime makes of a CNI configuration list for each call of a plugin, as libcni
//! does (CNI specification 1.1.0, section 3 "Execution of Network Configurations"): pure.

use anyhow::{Context, Result, ensure};
use serde_json::{Map, Value, json};

/// A configuration list, as found in `/etc/cni/net.d/*.conflist`.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct ConfigList {
    name: Value,
    version: Value,
    plugins: Vec<Value>,
}

/// One call of one plugin.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Call {
    /// The plugin's file name in CNI_PATH.
    pub(crate) plugin: String,
    /// What it gets on standard input.
    pub(crate) config: Value,
}

impl ConfigList {
    /// Reads a list.
    pub(crate) fn parse(text: &str) -> Result<Self> {
        let list: Value = serde_json::from_str(text).context("it is not JSON")?;
        let get = |key: &str| list.get(key).filter(|v| v.is_string()).cloned();
        let plugins = list.get("plugins").and_then(Value::as_array).cloned().unwrap_or_default();
        ensure!(!plugins.is_empty(), "it lists no plugins");
        Ok(Self {
            name: get("name").context("it has no name")?,
            version: get("cniVersion").context("it has no cniVersion")?,
            plugins,
        })
    }

    /// The plugins in the order of ADD and CHECK.
    pub(crate) fn forward(&self) -> impl Iterator<Item = &Value> {
        self.plugins.iter()
    }

    /// The plugins in the order of DEL.
    pub(crate) fn backward(&self) -> impl Iterator<Item = &Value> {
        self.plugins.iter().rev()
    }

    /// The call of one of the plugins, with what an earlier one, or ADD, answered, and the arguments of
    /// those capabilities that the plugin declares.
    pub(crate) fn call(
        &self,
        plugin: &Value,
        previous: Option<&Value>,
        capability_args: &Map<String, Value>,
    ) -> Result<Call> {
        let mut config = plugin.as_object().context("a plugin's configuration is no object")?.clone();
        config.insert("name".into(), self.name.clone());
        config.insert("cniVersion".into(), self.version.clone());
        if let Some(previous) = previous {
            config.insert("prevResult".into(), previous.clone());
        }
        let declared = |name: &str| plugin.pointer(&format!("/capabilities/{name}")) == Some(&json!(true));
        let runtime: Map<_, _> =
            capability_args.clone().into_iter().filter(|(name, _)| declared(name)).collect();
        if !runtime.is_empty() {
            config.insert("runtimeConfig".into(), Value::Object(runtime));
        }
        let kind =
            config.get("type").and_then(Value::as_str).context("a plugin's configuration has no type")?;
        ensure!(!kind.contains('/'), "plugin type {kind:?} is a path");
        Ok(Call { plugin: kind.to_owned(), config: Value::Object(config) })
    }
}

/// What a failed plugin said: CNI's error object on standard output if it is one.
pub(crate) fn failure(stdout: &str, stderr: &str) -> String {
    let error: Value = serde_json::from_str(stdout).unwrap_or(json!(null));
    let said = |key: &str| error.get(key).and_then(Value::as_str).filter(|s| !s.is_empty());
    let mut text = match (error.get("code"), said("msg")) {
        (Some(code), Some(message)) => format!("code {code}: {message}"),
        _ => format!("answer {:?}", stdout.trim()),
    };
    for more in [said("details"), Some(stderr.trim()).filter(|s| !s.is_empty())].into_iter().flatten() {
        text.push_str("; ");
        text.push_str(more);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list() -> ConfigList {
        ConfigList::parse(
            r#"{"cniVersion":"1.1.0","name":"net","plugins":[{"type":"a","mtu":1450},{"type":"b"}]}"#,
        )
        .unwrap()
    }

    #[test]
    fn each_plugin_gets_the_lists_name_and_version() {
        let list = list();
        let call = list.call(list.forward().next().unwrap(), None, &Map::new()).unwrap();
        assert_eq!(call.plugin, "a");
        assert_eq!(call.config, json!({"type": "a", "mtu": 1450, "name": "net", "cniVersion": "1.1.0"}));
    }

    #[test]
    fn deletes_backwards_with_the_result() {
        let list = list();
        let result = json!({"ips": []});
        let calls: Vec<_> =
            list.backward().map(|p| list.call(p, Some(&result), &Map::new()).unwrap()).collect();
        assert_eq!(calls.iter().map(|c| c.plugin.as_str()).collect::<Vec<_>>(), ["b", "a"]);
        assert!(calls.iter().all(|c| c.config["prevResult"] == result));
    }

    #[test]
    fn a_plugin_gets_the_arguments_of_its_own_capabilities() {
        let capabilities = json!({"bandwidth": true, "mac": false});
        let plugin = json!({"type": "a", "capabilities": capabilities});
        let args = json!({"bandwidth": {"ingressRate": 1}, "mac": "02:00:00:00:00:01", "portMappings": []});
        let call = list().call(&plugin, None, args.as_object().unwrap()).unwrap();
        assert_eq!(call.config["runtimeConfig"], json!({"bandwidth": {"ingressRate": 1}}));
    }

    #[test]
    fn bad_lists_say_what_is_missing() {
        for (text, want) in [
            ("{", "not JSON"),
            (r#"{"name":"n","plugins":[{}]}"#, "no cniVersion"),
            (r#"{"cniVersion":"1.1.0","plugins":[{}]}"#, "no name"),
            (r#"{"cniVersion":"1.1.0","name":"n"}"#, "no plugins"),
        ] {
            assert!(ConfigList::parse(text).unwrap_err().to_string().contains(want), "{text}");
        }
    }

    #[test]
    fn a_failure_has_the_plugins_message() {
        let stdout = r#"{"cniVersion":"1.1.0","code":11,"msg":"agent is not there","details":"socket /x"}"#;
        assert_eq!(failure(stdout, "trace\n"), "code 11: agent is not there; socket /x; trace");
        assert_eq!(failure("", ""), "answer \"\"");
    }
}
