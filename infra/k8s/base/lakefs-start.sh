# Makes lakeFS's first user, with the key that runs hold, and then becomes the server. A server that
# still waits for its setup is set up by whoever asks it first, and lakeFS takes the user from its
# settings on an embedded database only. `lakefs setup` prints the key, which must not reach the
# log, and fails where the setup has been done.
set -eu
if ! lakefs setup --user-name mlops-assets \
    --access-key-id "$LAKECTL_CREDENTIALS_ACCESS_KEY_ID" \
    --secret-access-key "$LAKECTL_CREDENTIALS_SECRET_ACCESS_KEY" >/tmp/setup 2>&1 &&
    ! grep -q 'already complete' /tmp/setup
then
    cat /tmp/setup >&2
    exit 1
fi
rm /tmp/setup
unset LAKECTL_CREDENTIALS_ACCESS_KEY_ID LAKECTL_CREDENTIALS_SECRET_ACCESS_KEY
exec lakefs run
