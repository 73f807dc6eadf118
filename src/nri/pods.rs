//! What is known of each annotated pod: a few bytes from its start to its end.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::watch;

/// The pods by sandbox id. Pods that ask for nothing are not in it.
#[derive(Debug, Default)]
pub(crate) struct Pods {
    known: Mutex<HashMap<String, Pod>>,
    /// Ids of a Synchronize that came in parts.
    listed: Mutex<HashSet<String>>,
}

#[derive(Clone, Debug)]
enum Pod {
    /// The hook is at work; the channel closes when it is done.
    Preparing {
        done: watch::Receiver<()>,
        found: bool,
    },
    Prepared,
    /// The line to return from each CreateContainer.
    Failed(Arc<str>),
    /// It had containers before this plugin came: it is not ours to stop.
    Found,
}

/// What has to happen for a pod now.
pub(crate) enum Step {
    /// Run the hook, hand the end to [`Pods::finish`], then drop the sender. `found`: a failure is not the pod's end.
    Run { done: watch::Sender<()>, found: bool },
    /// Somebody else runs it: wait until the channel closes and ask again.
    Wait(watch::Receiver<()>),
    /// It is over.
    Known(Result<(), Arc<str>>),
}

impl Pods {
    /// Decides, and notes the decision.
    pub(crate) fn step(&self, id: &str) -> Step {
        let mut known = self.lock();
        let found = match known.get(id) {
            Some(Pod::Prepared) => return Step::Known(Ok(())),
            Some(Pod::Failed(line)) => return Step::Known(Err(line.clone())),
            Some(Pod::Preparing { done, .. }) => return Step::Wait(done.clone()),
            Some(Pod::Found) => true,
            None => false,
        };
        let (sender, done) = watch::channel(());
        known.insert(id.to_owned(), Pod::Preparing { done, found });
        Step::Run { done: sender, found }
    }

    /// The end of a [`Step::Run`]. A pod that went away meanwhile stays forgotten.
    pub(crate) fn finish(&self, id: &str, end: Result<(), Arc<str>>) {
        let mut known = self.lock();
        if let Some(pod) = known.get_mut(id) {
            *pod = match (end, &pod) {
                (Ok(()), _) => Pod::Prepared,
                (Err(_), Pod::Preparing { found: true, .. }) => Pod::Found,
                (Err(line), _) => Pod::Failed(line),
            };
        }
    }

    /// The pod is gone.
    pub(crate) fn forget(&self, id: &str) {
        self.lock().remove(id);
    }

    /// A part of the runtime's list of pods: ids of the annotated ones, each with whether it has containers. With the
    /// last part, pods that are no longer there are forgotten. Answers how many pods are new to us and have containers.
    pub(crate) fn synchronize<'p>(&self, part: impl Iterator<Item = (&'p str, bool)>, last: bool) -> usize {
        let mut known = self.lock();
        let mut listed = self.listed.lock().unwrap_or_else(PoisonError::into_inner);
        let mut new = 0;
        for (id, has_containers) in part {
            listed.insert(id.to_owned());
            if has_containers && !known.contains_key(id) {
                known.insert(id.to_owned(), Pod::Found);
                new += 1;
            }
        }
        if last {
            let listed = std::mem::take(&mut *listed);
            known.retain(|id, _| listed.contains(id));
        }
        new
    }

    /// Number of pods known, and of those that failed.
    pub(crate) fn count(&self) -> (usize, usize) {
        let known = self.lock();
        (known.len(), known.values().filter(|pod| matches!(pod, Pod::Failed(_))).count())
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Pod>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(pods: &Pods, id: &str, end: Result<(), &str>) -> bool {
        let Step::Run { found, .. } = pods.step(id) else { panic!("{id} is known") };
        pods.finish(id, end.map_err(Arc::from));
        found
    }

    fn known(pods: &Pods, id: &str) -> Option<Result<(), Arc<str>>> {
        match pods.step(id) {
            Step::Known(end) => Some(end),
            _ => None,
        }
    }

    #[test]
    fn a_failure_is_told_every_time_until_the_pod_goes() {
        let pods = Pods::default();
        run(&pods, "a", Err("why"));
        for _ in 0..3 {
            assert_eq!(known(&pods, "a"), Some(Err("why".into())));
        }
        assert_eq!(pods.count(), (1, 1));
        pods.forget("a");
        assert_eq!(known(&pods, "a"), None);
    }

    #[test]
    fn two_askers_run_the_hook_once() {
        let pods = Pods::default();
        let Step::Run { done, .. } = pods.step("a") else { panic!() };
        let Step::Wait(wait) = pods.step("a") else { panic!() };
        pods.finish("a", Ok(()));
        drop(done);
        assert!(wait.has_changed().is_err(), "closed");
        assert_eq!(known(&pods, "a"), Some(Ok(())));
    }

    #[test]
    fn a_pod_with_containers_from_before_is_prepared_late_but_never_stopped() {
        let pods = Pods::default();
        assert_eq!(pods.synchronize([("old", true), ("empty", false)].into_iter(), true), 1);
        assert!(run(&pods, "old", Err("why")));
        assert!(run(&pods, "old", Ok(())), "tried again");
        assert_eq!(known(&pods, "old"), Some(Ok(())));
        assert!(!run(&pods, "empty", Err("why")), "has no container yet: ours");
    }

    #[test]
    fn a_list_in_parts_forgets_what_is_gone_only_at_its_end() {
        let pods = Pods::default();
        run(&pods, "failed", Err("why"));
        run(&pods, "gone", Ok(()));
        pods.synchronize([("x", true)].into_iter(), false);
        assert_eq!(known(&pods, "gone"), Some(Ok(())));
        pods.synchronize([("failed", true)].into_iter(), true);
        assert_eq!(known(&pods, "failed"), Some(Err("why".into())), "a failure outlives a restart of the runtime");
        assert_eq!(pods.count().0, 2);
    }

    #[test]
    fn a_pod_that_goes_while_it_is_prepared_stays_forgotten() {
        let pods = Pods::default();
        let Step::Run { .. } = pods.step("a") else { panic!() };
        pods.forget("a");
        pods.finish("a", Err("why".into()));
        assert_eq!(pods.count(), (0, 0));
    }
}
