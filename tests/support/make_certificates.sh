#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# make_certificates.sh DIR: two authorities and what they have signed, for tests.
#   ca.pem, stranger-ca.pem       the authorities
#   server, server-next           for localhost, 127.0.0.1, ::1 and leaseplane-sidecar, by ca
#   server-expired                ended yesterday
#   server-ending                 ends in two days, of the ninety that it was made for
#   server-stranger               by stranger-ca
#   client-uri                    spiffe://example.org/app, then a DNS name
#   client-dns                    worker.example.org
#   client-cn                     common name "Ada Lovelace" alone
#   client-root                   calls itself uid:0
#   client-expired, client-stranger
# each NAME.pem with NAME.key.
set -eu
mkdir -p "$1"
cd "$1"

new_key() { openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$1" 2>/dev/null; }

# authority NAME
authority() {
  new_key "$1.key"
  openssl req -x509 -new -key "$1.key" -subj "/CN=$1" -days 30 -out "$1.pem" \
    -addext "basicConstraints=critical,CA:TRUE" -addext "keyUsage=critical,keyCertSign"
}

# certificate NAME AUTHORITY DAYS USAGE COMMON_NAME [SAN]
certificate() {
  new_key "$1.key"
  openssl req -new -key "$1.key" -subj "/CN=$5" -out "$1.csr"
  {
    echo "basicConstraints=critical,CA:FALSE"
    echo "extendedKeyUsage=$4"
    [ -z "${6:-}" ] || echo "subjectAltName=$6"
  } >"$1.ext"
  openssl x509 -req -in "$1.csr" -CA "$2.pem" -CAkey "$2.key" -days "$3" -extfile "$1.ext" \
    -out "$1.pem" 2>/dev/null
  rm "$1.csr" "$1.ext"
}

# ending NAME AUTHORITY USAGE COMMON_NAME SAN; `openssl x509` knows certificates from today only.
ending() {
  new_key "$1.key"
  openssl req -new -key "$1.key" -subj "/CN=$4" -out "$1.csr"
  mkdir "$1.ca"
  : >"$1.ca/index"
  cat >"$1.ca/config" <<EOF
[ca]
default_ca = own
[own]
database = $1.ca/index
new_certs_dir = $1.ca
rand_serial = yes
default_md = sha256
policy = any
[any]
commonName = supplied
[extensions]
basicConstraints = critical,CA:FALSE
extendedKeyUsage = $3
subjectAltName = $5
EOF
  openssl ca -batch -notext -config "$1.ca/config" -extensions extensions -cert "$2.pem" \
    -keyfile "$2.key" -startdate "$(date -u -d '-88 days' +%Y%m%d%H%M%SZ)" \
    -enddate "$(date -u -d '2 days' +%Y%m%d%H%M%SZ)" -in "$1.csr" -out "$1.pem" 2>/dev/null
  rm -r "$1.csr" "$1.ca"
}

here="DNS:localhost,DNS:leaseplane-sidecar,IP:127.0.0.1,IP:::1"
authority ca
authority stranger-ca
certificate server ca 30 serverAuth server "$here"
certificate server-next ca 30 serverAuth server-next "$here"
certificate server-expired ca -1 serverAuth server "$here"
ending server-ending ca serverAuth server "$here"
certificate server-stranger stranger-ca 30 serverAuth server "$here"
certificate client-uri ca 30 clientAuth app "DNS:app.example.org,URI:spiffe://example.org/app"
certificate client-dns ca 30 clientAuth worker "DNS:worker.example.org"
certificate client-cn ca 30 clientAuth "Ada Lovelace"
certificate client-root ca 30 clientAuth "uid:0"
certificate client-expired ca -1 clientAuth app "URI:spiffe://example.org/app"
certificate client-stranger stranger-ca 30 clientAuth app "URI:spiffe://example.org/app"
