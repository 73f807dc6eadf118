//! The admission policy's own expressions, evaluated over pods and workloads.

use crate::manifests::{Test, one, render};
use anyhow::{Context as _, Result, bail, ensure};
use cel::{Context, Env, Program, Value as Cel, extensions, to_value};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

pub(crate) const TESTS: &[Test] = &[
    ("good pods and workloads are admitted", good),
    ("bad ones are rejected, each by its rule", bad),
    ("the example pods are admitted", examples),
    ("no sysctl value that the hook takes is rejected", values),
    ("the hook rejects what the policy rejects as malformed", malformed),
];

/// The policy with its parameters.
struct Policy {
    env: Arc<Env>,
    variables: Vec<(String, Program)>,
    rules: Vec<(String, Program)>,
    params: Value,
}

impl Policy {
    fn read(root: &Path) -> Result<Policy> {
        let objects = render(root, "admission")?;
        let policy = one(&objects, "ValidatingAdmissionPolicy")?;
        let mut env = Env::stdlib();
        extensions::strings(&mut env).map_err(|error| anyhow::anyhow!("{error:?}"))?;
        let list = |list: &Value, name: &str| -> Result<Vec<(String, Program)>> {
            let text = |item: &Value, field: &str| item[field].as_str().unwrap_or_default().to_owned();
            let program = |item: &Value| {
                let source = text(item, "expression");
                env.compile(&source).map_err(|error| anyhow::anyhow!("{source}: {error}"))
            };
            list.as_array().into_iter().flatten().map(|item| Ok((text(item, name), program(item)?))).collect()
        };
        let (variables, rules) = (&policy["spec"]["variables"], &policy["spec"]["validations"]);
        let (variables, rules) = (list(variables, "name")?, list(rules, "reason")?);
        Ok(Policy { env: Arc::new(env), variables, rules, params: one(&objects, "ConfigMap")?.clone() })
    }

    /// Positions of the rules that the object breaks.
    fn broken(&self, object: &Value) -> Result<Vec<usize>> {
        let mut variables: BTreeMap<String, Cel> = BTreeMap::new();
        for (name, expression) in &self.variables {
            let value = self.eval(object, &variables, expression).with_context(|| name.clone())?;
            variables.insert(name.clone(), value);
        }
        let mut broken = Vec::new();
        for (number, (_, expression)) in self.rules.iter().enumerate() {
            match self.eval(object, &variables, expression).with_context(|| format!("rule {number}"))? {
                Cel::Bool(true) => {}
                Cel::Bool(false) => broken.push(number),
                other => bail!("rule {number}: {other:?}"),
            }
        }
        Ok(broken)
    }

    fn eval(&self, object: &Value, variables: &BTreeMap<String, Cel>, program: &Program) -> Result<Cel> {
        let mut context = Context::with_env(self.env.clone());
        let value = |value: &Value| to_value(value).map_err(|error| anyhow::anyhow!("{error}"));
        context.add_variable_from_value("object", value(object)?);
        context.add_variable_from_value("params", value(&self.params)?);
        let variables: std::collections::HashMap<String, Cel> = variables.clone().into_iter().collect();
        context.add_variable_from_value("variables", variables);
        program.execute(&context).map_err(|error| anyhow::anyhow!("{error}"))
    }
}

fn pod(annotations: Value) -> Value {
    json!({"kind": "Pod", "metadata": {"name": "p", "annotations": annotations}, "spec": {"containers": []}})
}

fn asking(key: &str, value: &str) -> Value {
    pod(json!({format!("io.oci-ipc-hook.{key}"): value}))
}

fn good(root: &Path) -> Result<String> {
    let policy = Policy::read(root)?;
    let plain = json!({"kind": "Pod", "metadata": {"name": "p"}, "spec": {"hostIPC": true}});
    let template = pod(json!({"io.oci-ipc-hook.profile": "orders"}));
    let deployment = json!({"kind": "Deployment", "metadata": {}, "spec": {"template": template}});
    let cron = json!({"kind": "CronJob", "metadata": {}, "spec": {"jobTemplate": {"spec": {"template": template}}}});
    let bare = json!({"kind": "Job", "metadata": {}, "spec": {"template": {"spec": {}}}});
    let cases =
        [plain, template, deployment, cron, bare, pod(json!({"other/x": "y"})), asking("profile", "orders,pipeline")];
    for object in &cases {
        let broken = policy.broken(object)?;
        ensure!(broken.is_empty(), "{object}: {broken:?}");
    }
    Ok(format!("{} objects", cases.len()))
}

fn bad(root: &Path) -> Result<String> {
    let mut policy = Policy::read(root)?;
    let mut host = asking("profile", "orders");
    host["spec"]["hostIPC"] = json!(true);
    let deployment = json!({"kind": "Deployment", "metadata": {}, "spec": {"template": asking("profile", "other")}});
    let many = vec!["orders"; 17].join(",");
    let cases = [
        (asking("profiles", "orders"), 0),
        (asking("sysctl.kernel.msg", "1"), 0),
        (asking("sysctl.net.ipv4.ip_forward", "1"), 0),
        (asking("profile", ""), 1),
        (asking("profile", "orders, pipeline"), 1),
        (asking("profile", "../etc"), 1),
        (asking("profile", &many), 1),
        (asking("profile", "ibm-mq"), 2),
        (deployment, 2),
        (asking("sysctl.kernel.msgmax", "1"), 3),
        (asking("objects", "{}"), 3),
        (asking("sysctl.kernel.msgmax", "0x10"), 4),
        (asking("sysctl.kernel.msgmax", "1; rm"), 4),
        (asking("objects", "[1]"), 5),
        (asking("objects", &format!("{{{}}}", " ".repeat(65536))), 5),
        (host, 6),
    ];
    for (object, rule) in &cases {
        let broken = policy.broken(object)?;
        ensure!(broken.contains(rule), "rule {rule}, broken {broken:?}: {object:.200}");
        ensure!(!policy.rules[*rule].0.is_empty(), "rule {rule} gives no reason");
    }
    policy.params["data"]["inline"] = json!("true");
    ensure!(policy.broken(&asking("sysctl.kernel.msgmax", ">= 64KiB"))?.is_empty(), "inline = true");
    policy.params["data"]["profiles"] = json!("*");
    ensure!(policy.broken(&asking("profile", "anything"))?.is_empty(), "profiles = *");
    Ok(format!("{} objects", cases.len()))
}

fn examples(root: &Path) -> Result<String> {
    let policy = Policy::read(root)?;
    let objects: Vec<_> = ["pods", "overlays/unprivileged", "overlays/containerd"]
        .into_iter()
        .map(|name| render(root, name))
        .collect::<Result<Vec<_>>>()?
        .concat();
    let kinds = ["Pod", "Deployment", "DaemonSet"];
    let workloads: Vec<_> = objects.iter().filter(|object| kinds.iter().any(|kind| object["kind"] == *kind)).collect();
    for object in &workloads {
        let broken = policy.broken(object)?;
        ensure!(broken.is_empty(), "{}: {broken:?}", object["metadata"]["name"]);
    }
    Ok(format!("{} workloads", workloads.len()))
}

/// The hook's own parser is the measure.
fn values(root: &Path) -> Result<String> {
    let mut policy = Policy::read(root)?;
    policy.params["data"]["inline"] = json!("true");
    let mut taken = 0;
    for sysctl in oci_ipc_hook::ipc::Sysctl::ALL {
        for bound in ["", ">= ", "<= ", ">=", "<="] {
            for amount in [
                "0",
                "1",
                "64",
                "4096",
                "64KiB",
                "64 KiB",
                "1MB",
                "2GiB",
                "50%",
                "256 per GiB",
                "unlimited",
                "250 32000 32 512",
            ] {
                let text = format!("{bound}{amount}");
                if oci_ipc_hook::request::Wished::parse(sysctl, &text).is_ok() {
                    let broken = policy.broken(&asking(&format!("sysctl.{}", sysctl.name()), &text))?;
                    ensure!(broken.is_empty(), "{} = {text}: {broken:?}", sysctl.name());
                    taken += 1;
                }
            }
        }
    }
    ensure!(taken > 100, "only {taken} values were tried");
    Ok(format!("{taken} values"))
}

fn malformed(root: &Path) -> Result<String> {
    let mut policy = Policy::read(root)?;
    policy.params["data"]["inline"] = json!("true");
    let texts = ["", " ", "-1", "+1", "1e3", "0x10", "64kib", "50 percent", "1 2 3", "1 2 3 4 5", "== 5", "> 5", "1\n"];
    for text in texts {
        ensure!(!policy.broken(&asking("sysctl.kernel.sem", text))?.is_empty(), "admitted: {text:?}");
        let sysctl = oci_ipc_hook::ipc::Sysctl::ALL.into_iter().find(|s| s.name() == "kernel.sem").context("sem")?;
        ensure!(oci_ipc_hook::request::Wished::parse(sysctl, text).is_err(), "the hook takes {text:?}");
    }
    Ok(format!("{} values", texts.len()))
}
