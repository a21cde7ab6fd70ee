// SPDX-License-Identifier: Apache-2.0
#include "server/ledger/record_codec.h"

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>

#include "server/ledger/checksum.h"
#include "server/ledger/metadata_codec.h"

namespace leaseplane::ledger {
namespace {

// Checksum of what follows the `checksum` of a body, up to `used` bytes of the body.
template <class Body>
uint32_t BodyChecksum(uint64_t word, const Body& body, size_t used) {
  constexpr size_t kFrom = offsetof(Body, slot);
  return Checksum(word, reinterpret_cast<const char*>(&body) + kFrom, used - kFrom);
}

char* Append(const std::string& text, char* to) {
  std::memcpy(to, text.data(), text.size());
  return to + text.size();
}

void SetPair(uint64_t hi, uint64_t lo, uint64_t (&to)[2]) {
  to[0] = hi;
  to[1] = lo;
}

size_t UsedBytes(const LeaseBody& body) {
  return offsetof(LeaseBody, text) + body.principal_bytes + body.client_id_bytes +
         body.metadata_bytes;
}
size_t UsedBytes(const TombstoneBody& body) {
  return offsetof(TombstoneBody, text) + body.principal_bytes + body.client_id_bytes;
}
size_t UsedBytes(const LockBody& body) { return offsetof(LockBody, reason) + body.reason_bytes; }

template <class Record>
void RequireNamesFit(const Record& record) {
  RequireLedger(record.principal.size() <= engine::kPrincipalBytesMax, "principal too long");
  RequireLedger(record.client_id.size() <= engine::kClientIdBytesMax, "client id too long");
  RequireLedger(IsTokenInRange(record.token), "token out of range");
}

template <class Body>
bool HaveNamesLegalSize(const Body& body) {
  return body.principal_bytes <= engine::kPrincipalBytesMax &&
         body.client_id_bytes <= engine::kClientIdBytesMax;
}

template <class Record, class Body>
void ReadIdentity(const Body& body, Record* record) {
  record->slot = body.slot;
  record->id = {body.id[0], body.id[1]};
  record->request_id = {body.request_id[0], body.request_id[1]};
  record->body_hash = body.body_hash;
  record->principal.assign(body.text, body.principal_bytes);
  record->client_id.assign(body.text + body.principal_bytes, body.client_id_bytes);
}

template <class Record, class Body>
void FillIdentity(const Record& record, Body* body) {
  body->slot = record.slot;
  SetPair(record.id.hi, record.id.lo, body->id);
  SetPair(record.request_id.hi, record.request_id.lo, body->request_id);
  body->body_hash = record.body_hash;
  body->principal_bytes = static_cast<uint8_t>(record.principal.size());
  body->client_id_bytes = static_cast<uint8_t>(record.client_id.size());
}

}  // namespace

void RequireLedger(bool holds, const char* what) {
  if (holds) return;
  std::fprintf(stderr, "leaseplane: broken promise to the ledger: %s\n", what);
  std::abort();
}

LeaseTerm MakeTerm(FencingToken token, const engine::LeaseTerm& from) {
  LeaseTerm term{from.ttl_ns, from.deadline_at_ns, from.revoke_at_ns, 0, 0};
  term.checksum = Checksum(static_cast<uint64_t>(token), &term, offsetof(LeaseTerm, checksum));
  return term;
}

bool IsTermSound(FencingToken token, const LeaseTerm& term) {
  return term.checksum ==
         MakeTerm(token, {term.ttl_ns, term.deadline_at_ns, term.revoke_at_ns}).checksum;
}

size_t FillLease(const engine::LeaseRecord& record, LeaseBody* body) {
  RequireNamesFit(record);
  const std::string metadata = EncodeMetadata(record.metadata);
  RequireLedger(metadata.size() <= kMetadataEncodedMax, "metadata too long");
  body->terms[0] = MakeTerm(record.token, engine::TermOf(record));
  body->terms[1] = body->terms[0];
  FillIdentity(record, body);
  body->max_end_at_ns = record.max_end_at_ns;
  body->acquired_unix_ns = record.acquired_unix_ns;
  body->metadata_bytes = static_cast<uint16_t>(metadata.size());
  Append(metadata, Append(record.client_id, Append(record.principal, body->text)));
  const size_t used = UsedBytes(*body);
  body->checksum = BodyChecksum(static_cast<uint64_t>(record.token), *body, used);
  return used;
}

size_t FillTombstone(uint64_t number, const engine::Tombstone& tombstone, TombstoneBody* body) {
  RequireNamesFit(tombstone);
  FillIdentity(tombstone, body);
  body->token = tombstone.token;
  body->ended_unix_ns = tombstone.ended_unix_ns;
  body->ended_at_ns = tombstone.ended_at_ns;
  body->ended_as = static_cast<uint8_t>(tombstone.ended_as);
  Append(tombstone.client_id, Append(tombstone.principal, body->text));
  const size_t used = UsedBytes(*body);
  body->checksum = BodyChecksum(number, *body, used);
  return used;
}

size_t FillTombstone(uint64_t number, FencingToken token, const LeaseBody& lease,
                     engine::LeaseState ended_as, engine::Instant now, TombstoneBody* body) {
  RequireLedger(HaveNamesLegalSize(lease), "a lease record changed under us");
  body->slot = lease.slot;
  body->token = token;
  SetPair(lease.id[0], lease.id[1], body->id);
  SetPair(lease.request_id[0], lease.request_id[1], body->request_id);
  body->body_hash = lease.body_hash;
  body->ended_unix_ns = now.unix_ns;
  body->ended_at_ns = now.boot_ns;
  body->ended_as = static_cast<uint8_t>(ended_as);
  body->principal_bytes = lease.principal_bytes;
  body->client_id_bytes = lease.client_id_bytes;
  std::memcpy(body->text, lease.text, size_t{lease.principal_bytes} + lease.client_id_bytes);
  const size_t used = UsedBytes(*body);
  body->checksum = BodyChecksum(number, *body, used);
  return used;
}

size_t FillLock(uint64_t version, SlotIndex slot, const std::string& reason, LockBody* body) {
  RequireLedger(reason.size() <= engine::kReasonTextBytesMax, "lock reason too long");
  body->slot = slot;
  body->reason_bytes = static_cast<uint8_t>(reason.size());
  Append(reason, body->reason);
  const size_t used = UsedBytes(*body);
  body->checksum = BodyChecksum(version, *body, used);
  return used;
}

std::optional<engine::LeaseRecord> ReadLeaseBody(uint64_t word, const LeaseBody& body) {
  const FencingToken token = TokenOfWord(word);
  const LeaseTerm& term = body.terms[TermOfWord(word)];
  if (!IsTokenInRange(token) || !HaveNamesLegalSize(body) ||
      body.metadata_bytes > kMetadataEncodedMax || !IsTermSound(token, term) ||
      body.checksum != BodyChecksum(static_cast<uint64_t>(token), body, UsedBytes(body))) {
    return std::nullopt;
  }
  engine::LeaseRecord record;
  ReadIdentity(body, &record);
  const char* metadata_text = body.text + body.principal_bytes + body.client_id_bytes;
  std::optional<engine::Metadata> metadata = DecodeMetadata({metadata_text, body.metadata_bytes});
  if (!metadata) return std::nullopt;
  record.metadata = *std::move(metadata);
  record.token = token;
  record.ttl_ns = term.ttl_ns;
  record.deadline_at_ns = term.deadline_at_ns;
  record.revoke_at_ns = term.revoke_at_ns;
  record.max_end_at_ns = body.max_end_at_ns;
  record.acquired_unix_ns = body.acquired_unix_ns;
  return record;
}

std::optional<engine::Tombstone> ReadTombstoneBody(uint64_t number, const TombstoneBody& body) {
  if (!HaveNamesLegalSize(body) || !IsTokenInRange(body.token) ||
      body.ended_as > static_cast<uint8_t>(engine::LeaseState::kRevoked) ||
      body.checksum != BodyChecksum(number, body, UsedBytes(body))) {
    return std::nullopt;
  }
  engine::Tombstone tombstone;
  ReadIdentity(body, &tombstone);
  tombstone.token = body.token;
  tombstone.ended_as = static_cast<engine::LeaseState>(body.ended_as);
  tombstone.ended_unix_ns = body.ended_unix_ns;
  tombstone.ended_at_ns = body.ended_at_ns;
  return tombstone;
}

std::optional<engine::LockRecord> ReadLockBody(uint64_t version, const LockBody& body) {
  if (body.checksum != BodyChecksum(version, body, UsedBytes(body))) return std::nullopt;
  return engine::LockRecord{body.slot, std::string(body.reason, body.reason_bytes)};
}

}  // namespace leaseplane::ledger
