//! Objects.

use futures::TryStreamExt as _;
use lovage::broker::ObjectInfo;
use lovage::protocol::stream::Bucket;
use tokio::io::AsyncReadExt;

use super::{Rig, soon};

/// A name that no subject could hold as it is.
const NAME: &str = "acme/sha256:ab.cd *>";

async fn put(rig: &Rig, bucket: Bucket, bytes: &[u8]) -> ObjectInfo {
    soon(rig.broker.objects.put(bucket, NAME, &mut &*bytes)).await.unwrap()
}

async fn get(rig: &Rig, bucket: Bucket) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    soon(rig.broker.objects.open(bucket, NAME).await.unwrap()?.read_to_end(&mut bytes)).await.unwrap();
    Some(bytes)
}

/// Bytes in which no two chunks are alike.
fn sample(len: usize) -> Vec<u8> {
    (0..len).map(|place| u8::try_from(((place >> 16) ^ place) % 251).unwrap()).collect()
}

pub(super) async fn objects_of_any_size_come_back(rig: Rig) {
    for bucket in Bucket::ALL {
        for len in [0, 1, 512 << 10, 3 << 20] {
            let bytes = sample(len);
            let info = put(&rig, bucket, &bytes).await;
            assert_eq!(info.size, len as u64);
            assert_eq!(rig.broker.objects.info(bucket, NAME).await.unwrap(), Some(info));
            assert!(get(&rig, bucket).await.unwrap() == bytes, "{len} bytes came back otherwise");
        }
    }
}

pub(super) async fn an_object_is_replaced(rig: Rig) {
    put(&rig, Bucket::Modules, &sample(2 << 20)).await;
    let info = put(&rig, Bucket::Modules, b"new").await;
    assert_eq!(rig.broker.objects.info(Bucket::Modules, NAME).await.unwrap(), Some(info));
    assert_eq!(get(&rig, Bucket::Modules).await.unwrap(), b"new");
    assert_eq!(get(&rig, Bucket::Values).await, None, "buckets are apart");
}

pub(super) async fn a_missing_object_is_none(rig: Rig) {
    assert_eq!(rig.broker.objects.info(Bucket::Values, NAME).await.unwrap(), None);
    assert_eq!(get(&rig, Bucket::Values).await, None);
    rig.broker.objects.remove(Bucket::Values, NAME).await.unwrap();
}

pub(super) async fn a_removed_object_is_gone(rig: Rig) {
    put(&rig, Bucket::Values, b"x").await;
    rig.broker.objects.remove(Bucket::Values, NAME).await.unwrap();
    assert_eq!(rig.broker.objects.info(Bucket::Values, NAME).await.unwrap(), None);
    assert_eq!(get(&rig, Bucket::Values).await, None);
    put(&rig, Bucket::Values, b"again").await;
    assert_eq!(get(&rig, Bucket::Values).await.unwrap(), b"again");
}

pub(super) async fn objects_are_listed_until_they_are_removed(rig: Rig) {
    let objects = &rig.broker.objects;
    let listed = async || {
        let mut all: Vec<(String, ObjectInfo)> =
            soon(objects.list(Bucket::RunValues).await.unwrap().try_collect()).await.unwrap();
        all.sort_by(|one, other| one.0.cmp(&other.0));
        all
    };
    assert_eq!(listed().await, []);
    let mut expected = Vec::new();
    for name in ["a/1", "a/2", NAME] {
        expected.push((name.to_owned(), objects.put(Bucket::RunValues, name, &mut &b"x"[..]).await.unwrap()));
    }
    put(&rig, Bucket::Modules, b"of another bucket").await;
    assert_eq!(listed().await, expected);
    for name in ["a/1", NAME] {
        objects.remove(Bucket::RunValues, name).await.unwrap();
    }
    assert_eq!(listed().await, [expected.remove(1)]);
}
