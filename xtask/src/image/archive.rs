//! An image as `docker save` writes it: a tar of layers, each a tar itself, with a description that has their sums. After the
//! Docker Image Specification v1.2, "Combined Image JSON + Filesystem Changeset Format". OCI's own layout has no health
//! check, and engines before 25 do not load it.

use serde_json::json;

use crate::dist::about::{LICENSE, SUMMARY};
use crate::dist::stamp::Stamp;
use crate::dist::tar::{Entry, tar};
use crate::image::USER;
use crate::places;

/// An image for one platform.
pub struct Image<'a> {
    /// `linux/arm64`, `linux/arm/v7`.
    pub platform: &'a str,
    /// Its names with tags.
    pub tags: &'a [String],
    /// Its layers, the lowest first.
    pub layers: Vec<Layer>,
}

/// Files that lie over those of the layers below.
pub struct Layer {
    /// Its maker, for `docker history`.
    pub made_by: String,
    /// Its files.
    pub entries: Vec<Entry>,
}

/// An image as a file.
pub struct ImageFile {
    /// The file.
    pub archive: Vec<u8>,
    /// The image's name in engines: the sum of its description.
    pub id: String,
    /// The maker and the size in bytes of each layer.
    pub sizes: Vec<(String, u64)>,
}

impl Image<'_> {
    /// Packs it. The bytes depend on nothing but the content and the stamp.
    ///
    /// # Errors
    ///
    /// A path that is too long.
    pub fn pack(&self, stamp: &Stamp) -> Result<ImageFile, String> {
        let (mut files, mut names, mut sums, mut sizes) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for layer in &self.layers {
            let content = tar("", &layer.entries, stamp.time)?;
            let sum = places::sha256(&content);
            sizes.push((layer.made_by.clone(), content.len() as u64));
            let name = format!("{sum}/layer.tar");
            files.push(Entry::directory(sum.clone(), 0o755));
            files.push(Entry::file(name.clone(), 0o644, content));
            names.push(name);
            sums.push(format!("sha256:{sum}"));
        }
        let description = self.description(&sums, stamp).to_string();
        let id = places::sha256(description.as_bytes());
        let manifest = json!([{"Config": format!("{id}.json"), "RepoTags": self.tags, "Layers": names}]);
        files.insert(0, Entry::file("manifest.json", 0o644, manifest.to_string()));
        files.insert(1, Entry::file(format!("{id}.json"), 0o644, description));
        Ok(ImageFile { archive: tar("", &files, stamp.time)?, id, sizes })
    }

    /// The description for engines: how the image is run, and which layers it has.
    fn description(&self, sums: &[String], stamp: &Stamp) -> serde_json::Value {
        let mut platform = self.platform.split('/');
        let (os, architecture) = (platform.next(), platform.next());
        let created = stamp.rfc3339();
        let history: Vec<_> = self
            .layers
            .iter()
            .map(|layer| json!({"created": created, "created_by": format!("cargo xtask image: {}", layer.made_by)}))
            .collect();
        let seconds = |seconds: u64| seconds * 1_000_000_000;
        let mut description = json!({
            "created": created,
            "architecture": architecture,
            "os": os,
            "config": {
                "User": format!("{USER}:{USER}"),
                "Env": ["PATH=/usr/local/bin"],
                "Entrypoint": ["/usr/local/bin/otelet"],
                "Volumes": {"/var/lib/otelet": {}},
                "WorkingDir": "/",
                "StopSignal": "SIGTERM",
                "Healthcheck": {
                    "Test": ["CMD", "/usr/local/bin/otelet", "status", "--healthy"],
                    "Interval": seconds(30),
                    "Timeout": seconds(10),
                    "StartPeriod": seconds(60),
                    "Retries": 3,
                },
                "Labels": {
                    "org.opencontainers.image.title": "otelet",
                    "org.opencontainers.image.description": SUMMARY,
                    "org.opencontainers.image.licenses": LICENSE,
                    "org.opencontainers.image.version": stamp.version,
                    "org.opencontainers.image.created": created,
                    // Its own log is not for its own collector.
                    "otelet.logs": "off",
                },
            },
            "rootfs": {"type": "layers", "diff_ids": sums},
            "history": history,
        });
        if let Some(variant) = platform.next() {
            description["variant"] = variant.into();
        }
        description
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(platform: &str) -> ImageFile {
        let layer = |path: &str| Layer { made_by: path.to_owned(), entries: vec![Entry::file(path, 0o644, "text")] };
        let image = Image { platform, tags: &["otelet:1".to_owned()], layers: vec![layer("a"), layer("b")] };
        image.pack(&Stamp { version: "1.2.3", time: 7 }).unwrap()
    }

    /// The content of a file in an archive of ours.
    fn content<'a>(archive: &'a [u8], name: &str) -> &'a [u8] {
        let mut at = 0;
        while archive[at] != 0 {
            let header = &archive[at..at + 512];
            let size = usize::from_str_radix(std::str::from_utf8(&header[124..135]).unwrap(), 8).unwrap();
            if header[..100].split(|&byte| byte == 0).next() == Some(name.as_bytes()) {
                return &archive[at + 512..at + 512 + size];
            }
            at += 512 + size.next_multiple_of(512);
        }
        panic!("no {name} in it");
    }

    #[test]
    fn every_sum_is_that_of_what_it_stands_for() {
        let packed = image("linux/arm64");
        let json = |name: &str| serde_json::from_slice::<serde_json::Value>(content(&packed.archive, name)).unwrap();
        let manifest = &json("manifest.json")[0];
        let name = manifest["Config"].as_str().unwrap();
        assert_eq!(name, format!("{}.json", packed.id));
        assert_eq!(places::sha256(content(&packed.archive, name)), packed.id);
        let description = json(name);
        for index in 0..2 {
            let layer = content(&packed.archive, manifest["Layers"][index].as_str().unwrap());
            assert_eq!(description["rootfs"]["diff_ids"][index], format!("sha256:{}", places::sha256(layer)));
        }
        assert_eq!((&description["os"], &description["architecture"]), (&json!("linux"), &json!("arm64")));
        assert_eq!(description["history"].as_array().unwrap().len(), 2, "one for each layer");
    }

    #[test]
    fn two_images_of_the_same_are_the_same_and_the_platform_makes_a_difference() {
        assert_eq!(image("linux/arm64").archive, image("linux/arm64").archive);
        assert_ne!(image("linux/arm64").id, image("linux/arm/v7").id);
    }

    #[test]
    fn both_ways_to_make_an_image_say_the_same_of_how_it_runs() {
        let dockerfile = std::fs::read_to_string(places::root().join("Dockerfile.alpine")).unwrap();
        for line in [
            "ENV PATH=/usr/local/bin",
            "      otelet.logs=\"off\"",
            "VOLUME /var/lib/otelet",
            "STOPSIGNAL SIGTERM",
            "HEALTHCHECK --interval=30s --timeout=10s --start-period=60s --retries=3 \
             CMD [\"/usr/local/bin/otelet\", \"status\", \"--healthy\"]",
            "ENTRYPOINT [\"/usr/local/bin/otelet\"]",
        ] {
            assert!(dockerfile.lines().any(|said| said == line), "{line}");
        }
        assert!(dockerfile.contains(&format!("description=\"{SUMMARY}\"")));
    }
}
