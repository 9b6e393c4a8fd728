import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { isAbsoluteUri, isUriReference } from './uri.ts';

const absolute = [
  'https://github.com/cloudevents',
  'mailto:cncf-wg-serverless@lists.cncf.io',
  'urn:uuid:6e8bc430-9c3a-11d9-9669-0800200c9a66',
  'ftp://ftp.is.co.za/rfc/rfc1808.txt',
  'ldap://[2001:db8::7]/c=GB?objectClass?one',
  'tel:+1-816-555-1212',
  'http://user:pass@example.com:8080/a/b;c?d=e/f?g',
  'http://example.com:',
  'http://',
  'file:///etc/hosts',
  'a:',
  'http://[::]/',
  'http://[::1]/',
  'http://[1:2:3:4:5:6:7:8]',
  'http://[1:2:3:4:5:6:7::]',
  'http://[::ffff:192.0.2.1]',
  'http://[1:2:3:4:5:6:1.2.3.4]',
  'http://[v1.fe80::a+en1]',
  'http://a%20b/%C3%A4',
];
const relative = [
  '',
  '/',
  '/sensors/tn-1234567/alerts',
  '1-555-123-4567',
  '//host/x',
  '?q',
  '#f',
  './a:b',
  'a/b:c',
  '..',
  '%41',
];
const neither = [
  'a b',
  '/ä',
  'http://a b',
  '1a:b',
  ':a',
  'a^b',
  '/a\\b',
  '/a%2',
  '/a%zz',
  'a:b#c#d',
  '/<x>',
  '/{x}',
  '/a|b',
  '/"',
  'http://[::1',
  'http://::1]',
  'http://[1::2::3]',
  'http://[1:2:3:4:5:6:7]',
  'http://[1:2:3:4:5:6:7:8::]',
  'http://[12345::]',
  'http://[::256.1.1.1]',
  'http://[::1.2.3]',
  'http://[fe80::1%25en0]',
  'http://[:1::]',
  'http://a@b@c',
  'http://a:80b',
  'http://a:1:2',
  '/a\nb',
  '\ud800',
];

describe('URIs', () => {
  it.each(absolute)('%j is an absolute URI and a reference', (text) => {
    expect([isAbsoluteUri(text), isUriReference(text)]).toEqual([true, true]);
  });

  it.each([...relative, 'https://example.com/x#part'])('%j is a reference and no absolute URI', (text) => {
    expect([isAbsoluteUri(text), isUriReference(text)]).toEqual([false, true]);
  });

  it.each(neither)('%j is neither', (text) => {
    expect([isAbsoluteUri(text), isUriReference(text)]).toEqual([false, false]);
  });

  it('takes every web URL in its normal form', () => {
    fc.assert(
      fc.property(fc.webUrl({ withQueryParameters: true, withFragments: true }), (url) => {
        expect(isUriReference(url)).toBe(true);
      }),
    );
  });

  it('takes every encoded component as a path', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'grapheme' }), (text) => {
        expect(isUriReference(`/${encodeURIComponent(text)}`)).toBe(true);
      }),
    );
  });

  it('is linear in the length of the text', () => {
    expect(isUriReference(`${'a'.repeat(1_000_000)} `)).toBe(false);
    expect(isUriReference(`//${':'.repeat(1_000_000)}`)).toBe(false);
  });
});
