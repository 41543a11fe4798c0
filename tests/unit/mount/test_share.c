#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "mount/share.h"

#define NFS_COMMON "hard,lookupcache=positive"

static const struct good {
    struct share_spec spec;
    const char *fstype;
    const char *source;
    const char *options;
    const char *host;
} goods[] = {
    {{"nfs", "Filer.example.com:/export/data/", NULL, NULL},
     "nfs",
     "filer.example.com:/export/data",
     "hard,lookupcache=positive,nodev,noexec,nosuid,vers=4.1",
     "filer.example.com"},
    {{"nfs", "10.0.0.1:/", "", "vers=3"},
     "nfs",
     "10.0.0.1:/",
     "hard,lookupcache=positive,nodev,noexec,nolock,nosuid,vers=3",
     "10.0.0.1"},
    {{"nfs", "[FD00::1]:/x", NULL, "nfsvers=4.2,nconnect=8,lookupcache=none,defaults,_netdev,retry=5"},
     "nfs",
     "[fd00::1]:/x",
     "hard,lookupcache=none,nconnect=8,nodev,noexec,nosuid,vers=4.2",
     "fd00::1"},
    {{"nfs", "h:/x", NULL, "vers=4"}, "nfs", "h:/x", "hard,lookupcache=positive,nodev,noexec,nosuid,vers=4.1", "h"},
    {{"efs", "fs-0123.efs.eu-west-1.amazonaws.com:/", NULL, "resvport,rsize=65536"},
     "nfs",
     "fs-0123.efs.eu-west-1.amazonaws.com:/",
     "hard,lookupcache=positive,nodev,noexec,nosuid,resvport,retrans=2,rsize=65536,timeo=600,vers=4.1,wsize=1048576",
     "fs-0123.efs.eu-west-1.amazonaws.com"},
    {{"filestore", "10.1.2.3:/vol1", "caches/a", "nconnect=7"},
     "nfs",
     "10.1.2.3:/vol1",
     "hard,lookupcache=positive,nconnect=7,nodev,noexec,nolock,nosuid,resvport,retrans=3,timeo=600,vers=3",
     "10.1.2.3"},
    {{"smb", "//Server/Share/dir", NULL, "seal,domain=CORP"},
     "cifs",
     "//server/Share/dir",
     "actimeo=30,dir_mode=0755,domain=CORP,file_mode=0644,hard,nobrl,nodev,noexec,nosuid,seal,vers=3.1.1",
     "server"},
    {{"azurefile", "//acct.file.core.windows.net/share", NULL, "vers=3.0,actimeo=60"},
     "cifs",
     "//acct.file.core.windows.net/share",
     "actimeo=60,dir_mode=0755,file_mode=0644,hard,nobrl,nodev,noexec,nosharesock,nosuid,vers=3.0",
     "acct.file.core.windows.net"},
    {{"azurefile", "acct.file.core.windows.net:/acct/share", NULL, NULL},
     "nfs",
     "acct.file.core.windows.net:/acct/share",
     "actimeo=30,hard,lookupcache=positive,nconnect=4,nodev,noexec,noresvport,nosuid,vers=4.1",
     "acct.file.core.windows.net"},
    {{"local", "/srv/cache/", "a/b/", ""}, NULL, "/srv/cache", "", NULL},
    {{"local", NULL, NULL, NULL}, NULL, NULL, "", NULL},
};

static void assert_text(const char *got, const char *wanted)
{
    if (wanted)
        assert_string_equal(got, wanted);
    else
        assert_null(got);
}

static void fills_in_what_the_vendor_recommends(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(goods) / sizeof(goods[0]); i++) {
        _cleanup_(arena_freep) struct arena *arena = arena_new();
        struct share_plan plan;
        struct err err = ERR_INIT;
        if (share_plan_make(arena, &goods[i].spec, &plan, &err) != 0)
            fail_msg("row %zu: %s", i, err.message);
        assert_text(plan.fstype, goods[i].fstype);
        assert_text(plan.source, goods[i].source);
        assert_text(plan.options, goods[i].options);
        assert_text(plan.host, goods[i].host);
        assert_int_equal(plan.is_local, goods[i].fstype == NULL);
        assert_string_equal(plan.type, goods[i].spec.type);
        assert_int_equal(plan.wants_password, plan.fstype && strcmp(plan.fstype, "cifs") == 0);
    }
}

static const struct bad {
    struct share_spec spec;
    enum err_code code;
    const char *names; /* what the message must name */
} bads[] = {
    {{"ceph", "h:/x", NULL, NULL}, ERR_INVALID, "shareType"},
    {{"", "h:/x", NULL, NULL}, ERR_INVALID, "shareType"},
    {{"nfs", NULL, NULL, NULL}, ERR_INVALID, "share:"},
    {{"nfs", "", NULL, NULL}, ERR_INVALID, "share:"},
    {{"nfs", "host", NULL, NULL}, ERR_INVALID, "share:"},
    {{"nfs", "host:x", NULL, NULL}, ERR_INVALID, "share:"},
    {{"nfs", ":/x", NULL, NULL}, ERR_INVALID, "share:"},
    {{"nfs", "-o:/x", NULL, NULL}, ERR_INVALID, "share:"},
    {{"nfs", "a..b:/x", NULL, NULL}, ERR_INVALID, "share:"},
    {{"nfs", "h,ro:/x", NULL, NULL}, ERR_INVALID, "share:"},
    {{"nfs", "h:/x,rw", NULL, NULL}, ERR_INVALID, "share:"},
    {{"nfs", "h:/x/../y", NULL, NULL}, ERR_INVALID, "share:"},
    {{"nfs", "h:/x//y", NULL, NULL}, ERR_INVALID, "share:"},
    {{"nfs", "h:/x\\040y", NULL, NULL}, ERR_INVALID, "share:"},
    {{"nfs", "h:/x\ny", NULL, NULL}, ERR_INVALID, "share:"},
    {{"nfs", "[10.0.0.1]:/x", NULL, NULL}, ERR_INVALID, "share:"},
    {{"nfs", "[fd00::1:/x", NULL, NULL}, ERR_INVALID, "share:"},
    {{"nfs", "fd00::1:/x", NULL, NULL}, ERR_INVALID, "share:"},
    {{"efs", "fs-0123:/", NULL, NULL}, ERR_INVALID, "DNS name"},
    {{"smb", "/host/share", NULL, NULL}, ERR_INVALID, "share:"},
    {{"smb", "//host", NULL, NULL}, ERR_INVALID, "share:"},
    {{"smb", "//host/", NULL, NULL}, ERR_INVALID, "share:"},
    {{"smb", "//ho,st/x", NULL, NULL}, ERR_INVALID, "share:"},
    {{"smb", "//user@host/x", NULL, NULL}, ERR_INVALID, "share:"},
    {{"smb", "//host/x/..", NULL, NULL}, ERR_INVALID, "share:"},
    {{"azurefile", "acct.file.core.windows.net:/acct", NULL, NULL}, ERR_INVALID, "share:"},
    {{"local", "relative", NULL, NULL}, ERR_INVALID, "share:"},
    {{"local", "/", NULL, NULL}, ERR_INVALID, "share:"},
    {{"local", "/a/../b", NULL, NULL}, ERR_INVALID, "share:"},
    {{"local", "/a", NULL, "ro"}, ERR_INVALID, "mountOptions"},
    {{"nfs", "h:/x", "/abs", NULL}, ERR_INVALID, "subPath"},
    {{"nfs", "h:/x", "a/../b", NULL}, ERR_INVALID, "subPath"},
    {{"nfs", "h:/x", "a//b", NULL}, ERR_INVALID, "subPath"},
    {{"nfs", "h:/x", "a,b", NULL}, ERR_INVALID, "subPath"},
    {{"nfs", "h:/x", "1/2/3/4/5/6/7/8/9/10/11/12/13/14/15/16/17", NULL}, ERR_INVALID, "subPath"},
    {{"nfs", "h:/x", NULL, ","}, ERR_INVALID, "mountOptions"},
    {{"nfs", "h:/x", NULL, "ro,,hard"}, ERR_INVALID, "mountOptions"},
    {{"nfs", "h:/x", NULL, "ro,"}, ERR_INVALID, "mountOptions"},
    {{"nfs", "h:/x", NULL, "=x"}, ERR_INVALID, "mountOptions"},
    {{"nfs", "h:/x", NULL, "rsize="}, ERR_INVALID, "rsize"},
    {{"nfs", "h:/x", NULL, "rsize=1 2"}, ERR_INVALID, "rsize"},
    {{"nfs", "h:/x", NULL, "a=\"b"}, ERR_INVALID, "mountOptions"},
    {{"nfs", "h:/x", NULL, "a b"}, ERR_INVALID, "mountOptions"},
    {{"nfs", "h:/x", NULL, "vers=2"}, ERR_UNSUPPORTED, "vers=3"},
    {{"nfs", "h:/x", NULL, "vers=4.0"}, ERR_UNSUPPORTED, "vers=4.1"},
    {{"nfs", "h:/x", NULL, "vers=5"}, ERR_UNSUPPORTED, "vers=5"},
    {{"nfs", "h:/x", NULL, "v4.1"}, ERR_UNSUPPORTED, "vers=4.1"},
    {{"efs", "a.b:/", NULL, "vers=3"}, ERR_UNSUPPORTED, "EFS speaks"},
    {{"efs", "a.b:/", NULL, "tls"}, ERR_UNSUPPORTED, "encryption"},
    {{"efs", "a.b:/", NULL, "iam"}, ERR_UNSUPPORTED, "IAM"},
    {{"efs", "a.b:/", NULL, "accesspoint=fsap-1"}, ERR_UNSUPPORTED, "subPath"},
    {{"nfs", "h:/x", NULL, "sec=krb5p"}, ERR_UNSUPPORTED, "Kerberos"},
    {{"smb", "//h/x", NULL, "sec=krb5i"}, ERR_UNSUPPORTED, "Kerberos"},
    {{"nfs", "h:/x", NULL, "sec=none"}, ERR_UNSUPPORTED, "sec=sys"},
    {{"nfs", "h:/x", NULL, "xprtsec=tls"}, ERR_UNSUPPORTED, "TLS"},
    {{"nfs", "h:/x", NULL, "soft"}, ERR_UNSUPPORTED, "hard"},
    {{"nfs", "h:/x", NULL, "softerr"}, ERR_UNSUPPORTED, "hard"},
    {{"nfs", "h:/x", NULL, "nocto"}, ERR_UNSUPPORTED, "nocto"},
    {{"nfs", "h:/x", NULL, "lookupcache=all"}, ERR_UNSUPPORTED, "positive"},
    {{"nfs", "h:/x", NULL, "exec"}, ERR_UNSUPPORTED, "exec"},
    {{"nfs", "h:/x", NULL, "suid"}, ERR_UNSUPPORTED, "suid"},
    {{"nfs", "h:/x", NULL, "dev"}, ERR_UNSUPPORTED, "dev"},
    {{"nfs", "h:/x", NULL, "remount"}, ERR_UNSUPPORTED, "remount"},
    {{"nfs", "h:/x", NULL, "bind"}, ERR_UNSUPPORTED, "bind"},
    {{"nfs", "h:/x", NULL, "rshared"}, ERR_UNSUPPORTED, "propagation"},
    {{"nfs", "h:/x", NULL, "context=system_u:object_r:x_t:s0"}, ERR_UNSUPPORTED, "SELinux"},
    {{"nfs", "h:/x", NULL, "rootcontext=a"}, ERR_UNSUPPORTED, "SELinux"},
    {{"nfs", "h:/x", NULL, "addr=1.2.3.4"}, ERR_UNSUPPORTED, "addr"},
    {{"nfs", "h:/x", NULL, "X-mount.mkdir"}, ERR_UNSUPPORTED, "X-mount.mkdir"},
    {{"smb", "//h/x", NULL, "user=joe"}, ERR_UNSUPPORTED, "shareSecret"},
    {{"smb", "//h/x", NULL, "username=joe"}, ERR_UNSUPPORTED, "shareSecret"},
    {{"smb", "//h/x", NULL, "pass=hunter2"}, ERR_UNSUPPORTED, "shareSecret"},
    {{"smb", "//h/x", NULL, "password2=hunter2"}, ERR_UNSUPPORTED, "shareSecret"},
    {{"smb", "//h/x", NULL, "credentials=/etc/passwd"}, ERR_UNSUPPORTED, "shareSecret"},
    {{"smb", "//h/x", NULL, "nocase"}, ERR_UNSUPPORTED, "overlayfs"},
    {{"smb", "//h/x", NULL, "vers=1.0"}, ERR_UNSUPPORTED, "SMB 1"},
    {{"smb", "//h/x", NULL, "file_mode=0777"}, ERR_UNSUPPORTED, "file_mode"},
    {{"smb", "//h/x", NULL, "dir_mode=0775"}, ERR_UNSUPPORTED, "dir_mode"},
    {{"smb", "//h/x", NULL, "dir_mode=rwx"}, ERR_INVALID, "dir_mode"},
};

static void refuses_with_the_way_out(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(bads) / sizeof(bads[0]); i++) {
        _cleanup_(arena_freep) struct arena *arena = arena_new();
        struct share_plan plan;
        struct err err = ERR_INIT;
        if (share_plan_make(arena, &bads[i].spec, &plan, &err) == 0)
            fail_msg("row %zu accepted: %s", i, plan.options);
        if (err.code != bads[i].code || !strstr(err.message, bads[i].names))
            fail_msg("row %zu: %s: %s", i, err_code_name(err.code), err.message);
        assert_null(strstr(err.message, "hunter2"));
    }
}

static void one_identity_for_one_mount(void **state)
{
    (void)state;
    _cleanup_(arena_freep) struct arena *arena = arena_new();
    struct err err = ERR_INIT;
    struct share_plan a;
    struct share_plan b;
    struct share_plan c;
    const struct share_spec spec_a = {"nfs", "Host:/x/", "one", "nconnect=2,noac"};
    const struct share_spec spec_b = {"nfs", "host:/x", "two", "noac,nconnect=2,vers=4.1"};
    const struct share_spec spec_c = {"nfs", "host:/x", "one", "nconnect=3,noac"};
    assert_int_equal(share_plan_make(arena, &spec_a, &a, &err), 0);
    assert_int_equal(share_plan_make(arena, &spec_b, &b, &err), 0);
    assert_int_equal(share_plan_make(arena, &spec_c, &c, &err), 0);
    assert_string_equal(a.identity, b.identity);
    assert_string_not_equal(a.identity, c.identity);
}

static void long_texts_are_limited(void **state)
{
    (void)state;
    _cleanup_(arena_freep) struct arena *arena = arena_new();
    static char many[3000];
    for (size_t i = 0; i + 1 < sizeof(many); i++)
        many[i] = i % 2 ? ',' : (char)('a' + i / 2 % 26);
    struct share_plan plan;
    struct err err = ERR_INIT;
    struct share_spec spec = {"nfs", "h:/x", NULL, many};
    assert_int_equal(share_plan_make(arena, &spec, &plan, &err), -1);
    assert_int_equal(err.code, ERR_INVALID);
    char distinct[1024] = "";
    for (unsigned i = 0; i < 100; i++)
        snprintf(distinct + strlen(distinct), sizeof(distinct) - strlen(distinct), "%so%u", i ? "," : "", i);
    spec.mount_options = distinct;
    assert_int_equal(share_plan_make(arena, &spec, &plan, &err), -1);
    assert_non_null(strstr(err.message, "more than"));
    memset(many, 'h', sizeof(many) - 1);
    spec = (struct share_spec){"nfs", many, NULL, NULL};
    assert_int_equal(share_plan_make(arena, &spec, &plan, &err), -1);
    spec = (struct share_spec){"nfs", "h:/x", many, NULL};
    assert_int_equal(share_plan_make(arena, &spec, &plan, &err), -1);
    assert_int_equal(err.code, ERR_INVALID);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fills_in_what_the_vendor_recommends),
        cmocka_unit_test(refuses_with_the_way_out),
        cmocka_unit_test(one_identity_for_one_mount),
        cmocka_unit_test(long_texts_are_limited),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
