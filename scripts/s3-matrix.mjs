// The SDK for JavaScript against a gateway: put, get, list, in parts, delete, compared. Called by s3-matrix.py.

import assert from "node:assert";
import { randomBytes } from "node:crypto";
import { DeleteObjectsCommand, GetObjectCommand, HeadObjectCommand, ListObjectsV2Command, PutObjectCommand, S3Client }
  from "@aws-sdk/client-s3";
import { Upload } from "@aws-sdk/lib-storage";

const Bucket = process.argv[2];
const client = new S3Client({ endpoint: process.env.AWS_ENDPOINT_URL, region: "us-east-1", forcePathStyle: true, maxAttempts: 1 });
const content = { "js/small": randomBytes(100_000), "js/large": randomBytes(17_000_000) };

await client.send(new PutObjectCommand({ Bucket, Key: "js/small", Body: content["js/small"], Metadata: { colour: "blue" } }));
await new Upload({ client, params: { Bucket, Key: "js/large", Body: content["js/large"] }, partSize: 5 << 20 }).done();
for (const [Key, body] of Object.entries(content)) {
  const got = await client.send(new GetObjectCommand({ Bucket, Key }));
  assert(Buffer.from(await got.Body.transformToByteArray()).equals(body), Key);
}
const head = await client.send(new HeadObjectCommand({ Bucket, Key: "js/small" }));
assert.deepEqual([head.ContentLength, head.Metadata.colour], [100_000, "blue"]);
const listed = await client.send(new ListObjectsV2Command({ Bucket, Prefix: "js/" }));
assert.deepEqual(listed.Contents.map((item) => item.Key), ["js/large", "js/small"]);
const Objects = listed.Contents.map(({ Key }) => ({ Key }));
const gone = await client.send(new DeleteObjectsCommand({ Bucket, Delete: { Objects } }));
assert.equal(gone.Deleted.length, 2);
await assert.rejects(client.send(new GetObjectCommand({ Bucket, Key: "js/small" })), { name: "NoSuchKey" });
